"""Where the judge is: an address and a token, by the environment alone, so that they stand in no study and no key."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from loragrid.addresses import is_this_machine, redacted
from loragrid.errors import UserError

URL, TOKEN = "LORAGRID_JUDGE_URL", "LORAGRID_JUDGE_TOKEN"

HINT = f"export {URL}=http://127.0.0.1:8000/v1 for a server on this machine, or its https:// address with {TOKEN}=…"


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server.

    Args:
        url: up to and with `/v1`.
        token: sent to it, and shown nowhere; None for a server that wants none.
    """

    url: str
    token: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Its address without what may be secret in it."""
        return redacted(self.url)

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return is_this_machine(urlsplit(self.url).hostname or "")

    def without_token(self, text: str) -> str:
        """What somebody else said, without the token, which a server may repeat."""
        return text.replace(self.token, "[token]") if self.token else text


def endpoint_of(environment: Mapping[str, str] = os.environ) -> Endpoint:
    """The endpoint that the environment names.

    Raises:
        UserError: it names none, or one to which a token must not be sent.
    """
    url, token = environment.get(URL, "").strip().rstrip("/"), environment.get(TOKEN, "").strip() or None
    if not url:
        raise UserError(f"{URL} is not set: nobody can be asked to judge; {HINT}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UserError(f"{URL}: is no address; {HINT}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise UserError(f"{URL}: an address begins with https://, or with http:// on this machine; {HINT}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UserError(f"{URL}: {redacted(url)} has a password, a query or a # in it; the token belongs into {TOKEN}")
    if parts.scheme == "http" and not is_this_machine(host):
        raise UserError(
            f"{URL}: {redacted(url)}: http:// can be read on the way, token and all; use https://, or bring the server "
            "here through ssh: ssh -N -L 8000:HOST:8000 HOST, and http://127.0.0.1:8000/v1"
        )
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise UserError(f"{TOKEN}: has blanks or other characters in it that no token has; look at how it is set")
    return Endpoint(url, token)


def what_is_missing() -> str | None:
    """Why nobody can be asked with this environment; None if somebody can, as far as that can be seen."""
    try:
        endpoint_of()
    except UserError as error:
        return str(error)
    return None
