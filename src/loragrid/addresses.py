"""Addresses of servers: what may be said of them, and which lie on this machine."""

import ipaddress
from urllib.parse import urlsplit


def redacted(url: str) -> str:
    """An address for messages and manifests, without what may be secret in it: user, password, query.

    Args:
        url: any address.

    Returns:
        Its scheme, host and path.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def is_this_machine(host: str) -> bool:
    """Whether what is sent to a host stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
