"""Chat completions of an OpenAI-compatible server that may be slow, busy, broken or without JSON schemas."""

import contextlib
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from loragrid.addresses import redacted
from loragrid.errors import UserError, shortened
from loragrid.judging.cache import Reply
from loragrid.judging.endpoint import TOKEN, URL, Endpoint
from loragrid.judging.pace import Pace
from loragrid.judging.prompt import Messages

if TYPE_CHECKING:
    import requests

ATTEMPTS = 6
"""Attempts at one request, before giving up."""

BACKOFF, LONGEST_BACKOFF = 1.0, 60.0
"""Seconds before the second attempt; doubled each time, up to the second number."""

LONGEST_WAIT = 600.0
"""Seconds that a server may ask us to wait; if it wants more, that is told instead."""

TIMEOUT = (10.0, 300.0)
"""Seconds to wait for a connection, and for the next bytes: a large model on a busy machine takes its time."""

MOST_BYTES = 4 << 20
"""Of a reply: what is longer is none."""


class ServerError(UserError):
    """The server refuses, keeps failing or cannot be reached: so it would for whatever else it is asked now."""


class _Interrupted(Exception):
    """This attempt has failed for a reason that may pass.

    Args:
        reason: for people.
        after: seconds that the server asks us to wait.
    """

    def __init__(self, reason: str, after: float | None = None):
        super().__init__(reason)
        self.after = after


class _NoSchema(Exception):
    """The server does not take the request, perhaps for the JSON schema in it."""


class Client:
    """Asks one judge; several threads may use it.

    Args:
        endpoint: the server.
        pace: how fast it may be asked.
        timeout: as `TIMEOUT`.
        sleep: waits so many seconds before another attempt.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        pace: Pace,
        timeout: tuple[float, float] = TIMEOUT,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._endpoint = endpoint
        self._pace = pace
        self._timeout = timeout
        self._sleep = sleep
        self._takes_schemas = True

    def ask(self, messages: Messages, *, schema: dict[str, Any], before: Callable[[], None], **settings: Any) -> Reply:
        """Ask for one reply, until the server gives one.

        Args:
            messages: the prompt.
            schema: JSON Schema that the reply shall follow, where the server can see to that.
            before: called before each request; what it raises ends this.
            settings: `model`, `temperature`, `seed` and `max_tokens` of the request.

        Raises:
            ServerError: the server refuses, keeps failing, or cannot be reached. The token is in no message.
        """
        body = {"messages": messages, **settings}
        form = {"type": "json_schema", "json_schema": {"name": "judgement", "strict": True, "schema": schema}}
        if self._takes_schemas:
            with contextlib.suppress(_NoSchema):
                return self._try_again("json_schema", body | {"response_format": form}, before)
        reply = self._try_again("text", body, before)
        self._takes_schemas = False  # only now: the request may have been wrong for another reason
        return reply

    def _try_again(self, form: str, body: dict[str, Any], before: Callable[[], None]) -> Reply:
        failures = 0
        while True:
            self._pace.wait(_tokens(body))
            before()
            try:
                return self._attempt(form, body)
            except _Interrupted as error:
                failures += 1
                if failures >= ATTEMPTS or (error.after or 0) > LONGEST_WAIT:
                    wait = f"; it asks to wait {error.after:.0f} s" if error.after else ""
                    raise ServerError(
                        f"{self._endpoint.name}: {error}{wait}; gave up after {failures} attempts. What was answered "
                        f"is kept; see that the server runs ({URL}), and start again to go on."
                    ) from None
                if error.after:
                    self._pace.pause(error.after)
                else:
                    # Jitter, or threads that were refused together would come again together.
                    seconds = min(LONGEST_BACKOFF, BACKOFF * 2 ** (failures - 1))
                    self._sleep(seconds * random.uniform(0.5, 1.5))

    def _attempt(self, form: str, body: dict[str, Any]) -> Reply:
        import requests

        url = f"{self._endpoint.url}/chat/completions"
        data = json.dumps(body).encode("ascii")
        try:
            with requests.Session() as session:
                session.auth = _Bearer(self._endpoint.token)
                # A proxy does not lead to this machine.
                session.trust_env = not self._endpoint.is_here
                # Redirects would carry answers, and perhaps the token, to where nobody meant them to go.
                with session.post(
                    url,
                    data=data,
                    headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
                    timeout=self._timeout,
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    return self._reply(form, response, _body(response))
        except requests.exceptions.SSLError:
            raise ServerError(
                f"{self._endpoint.name}: the server's certificate is not trusted (see REQUESTS_CA_BUNDLE)"
            ) from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader):
            raise ServerError(
                f"{self._endpoint.name}: no address or token that can be used; see {URL}, {TOKEN}"
            ) from None
        except requests.RequestException as error:
            # Only the kind of error: its text may repeat what was sent.
            raise _Interrupted(_CAUSES.get(type(error).__name__, type(error).__name__)) from None

    def _reply(self, form: str, response: "requests.Response", content: bytes) -> Reply:
        status, name = response.status_code, self._endpoint.name
        if 300 <= status < 400:
            target = redacted(urljoin(self._endpoint.url, response.headers.get("Location", "")))
            raise ServerError(
                f"{name}: redirects to {target}, where nothing is sent; if it is right, give that as {URL}"
            )
        said = self._endpoint.without_token(shortened(_message(content)))
        told = f"the server answers {status}{f' ({said})' if said else ''}"
        if status in (408, 409, 425, 429) or status >= 500:
            if "insufficient_quota" in content.decode("utf-8", "replace"):
                raise ServerError(f"{name}: {told}; the account has no quota left. Start again when it has.")
            raise _Interrupted(told, _seconds_to_wait(response.headers.get("Retry-After")))
        if status in (401, 403):
            raise ServerError(f"{name}: {told}; look at {TOKEN}")
        if status == 404:
            raise ServerError(f"{name}: {told}; look at {URL}, which ends in /v1, and at the judge's `model`")
        if status in (400, 413, 422) and _is_about_this_prompt(content):
            # One answer that is too long, or that the server refuses to read, must not end the judging of all others.
            return Reply(f"[{told}]", "", form, 0, 0)
        if status in (400, 422) and form == "json_schema":
            raise _NoSchema
        if status != 200:
            raise ServerError(f"{name}: {told}")
        try:
            answer = json.loads(content)
            message, usage = answer["choices"][0]["message"], answer.get("usage") or {}
            text = message.get("content") or message.get("refusal") or ""
            if not isinstance(text, str):
                raise TypeError("no text")
            model = str(answer.get("model") or "")
            return Reply(
                self._endpoint.without_token(text),
                self._endpoint.without_token(model),
                form,
                int(usage.get("prompt_tokens") or 0),
                int(usage.get("completion_tokens") or 0),
            )
        except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
            raise _Interrupted("the server sends no chat completion") from None


class _Bearer:
    """The token as a header; requests would otherwise take whatever ~/.netrc has for that host."""

    def __init__(self, token: str | None):
        self._token = token

    def __call__(self, request: "requests.PreparedRequest") -> "requests.PreparedRequest":
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


_CAUSES = {
    "ProxyError": "the proxy cannot be reached (see HTTPS_PROXY)",
    "ConnectTimeout": "no connection: timed out",
    "ReadTimeout": "the server sends nothing: timed out",
    "ConnectionError": "no connection, or it was cut",
    "ChunkedEncodingError": "the connection was cut",
}
"""Few words for people, by the name of the error."""


def _body(response: "requests.Response") -> bytes:
    content = b""
    for chunk in response.iter_content(1 << 16):
        content += chunk
        if len(content) > MOST_BYTES:
            raise _Interrupted(f"the server sends more than {MOST_BYTES >> 20} MiB")
    return content


def _message(content: bytes) -> str:
    """What a server says of an error, whichever way."""
    text = content.decode("utf-8", "replace")
    try:
        found = json.loads(text)
        error = found.get("error", found) if isinstance(found, dict) else found
        text = str(error.get("message", error)) if isinstance(error, dict) else str(error)
    except (ValueError, RecursionError):
        pass
    return " ".join(text.split())


def _is_about_this_prompt(content: bytes) -> bool:
    """Whether a server refuses what it was asked for its length or its content."""
    text = content.decode("utf-8", "replace").lower()
    too_long = "context" in text and any(word in text for word in ("length", "size", "window"))
    return too_long or "content_filter" in text or "content_policy" in text


def _seconds_to_wait(header: str | None) -> float | None:
    """What `Retry-After` says: seconds, or a time."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(header)
    except (TypeError, ValueError):
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())


def _tokens(body: dict[str, Any]) -> int:
    """Tokens that a request may take: about a quarter of its characters, and its longest reply."""
    characters = sum(len(message["content"]) for message in body["messages"])
    return characters // 4 + int(body["max_tokens"])
