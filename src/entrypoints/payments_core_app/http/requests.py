"""Around every request: an id that its answer, its problem and its log lines share, and its time in the metrics.

And the reading of its JSON: Litestar would take `50000.0` and `5e4` for integers, and a body nested ten thousand deep
for a fault of ours.
"""

import re
import secrets
from functools import cache
from time import perf_counter
from typing import Any

import msgspec
import structlog
from litestar import Request
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import Histogram

from payments_core.errors import InvalidInput
from payments_core_app.metrics import REQUESTS

__all__ = ["Call", "RequestMiddleware", "request_id_of"]

_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
"""An id the caller may bring along; anything else is replaced."""
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class Call(Request[Any, Any, Any]):
    """A request whose JSON holds no number that has been a float somewhere: it may have lost the amount already."""

    async def json(self) -> Any:  # noqa: ANN401 - whatever was sent; the route's type is applied to it afterwards
        """The body as plain values. Errors: InvalidInput `invalid_request`."""
        body = await self.body()
        try:
            return _PLAIN_JSON.decode(body or b"null")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"the body is not JSON: {error}", code="invalid_request") from error
        except RecursionError as error:
            raise InvalidInput("the body is nested too deep", code="invalid_request") from error


def _refuse_float(text: str) -> float:
    raise InvalidInput(
        f"{text} has a fraction or an exponent; write a whole number, or an amount as text", code="invalid_request"
    )


_PLAIN_JSON = msgspec.json.Decoder(float_hook=_refuse_float)


class RequestMiddleware(ASGIMiddleware):
    """Gives every request its id, and counts it."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Call the rest with the id in the scope's state and in the log context."""
        request_id = request_id_of(scope)
        began, status = perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with_ours([*message["headers"]], request_id.encode())
            await send(message)

        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            _refuse_nul(scope)
            await next_app(scope, receive, send_with_id)
        finally:
            structlog.contextvars.reset_contextvars(**bound)
        _time_of(str(scope.get("method")), _route(scope), status).observe(perf_counter() - began)


def _with_ours(headers: list[tuple[bytes, bytes]], request_id: bytes) -> list[tuple[bytes, bytes]]:
    """The answer's headers with the id, and those of security that a route has not set itself."""
    said = {name.lower() for name, _ in headers}
    kept = (
        [header for header in headers if header[0].lower() != b"x-request-id"] if b"x-request-id" in said else headers
    )
    return [*kept, (b"x-request-id", request_id), *(header for header in _SECURITY_HEADERS if header[0] not in said)]


@cache
def _time_of(method: str, route: str, status: int) -> Histogram:
    """The series of these labels; finding it costs more than counting, and the lists are closed."""
    return REQUESTS.labels(method, route, str(status))


def request_id_of(scope: Scope) -> str:
    """The id of this request: the caller's if it brought a sound one, else a new one; the same whenever asked."""
    state = scope.setdefault("state", {})
    if "request_id" not in state:
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        state["request_id"] = given.decode() if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
    return str(state["request_id"])


def _refuse_nul(scope: Scope) -> None:
    """PostgreSQL stores no NUL, so no id and no filter of ours holds one."""
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        raise InvalidInput("the path or the query holds a NUL", code="invalid_request")


def _route(scope: Any) -> str:  # noqa: ANN401 - Litestar's scope keeps the template under a key of its own
    """The route's template, so that nothing a caller writes becomes a label."""
    return str(scope.get("path_template") or "other")
