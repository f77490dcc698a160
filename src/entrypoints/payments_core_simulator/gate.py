"""The one door of every gateway call: counted, authenticated, hit by faults, answered in its product's shape."""

import asyncio
import base64
import hmac
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
from litestar import Request, Response

from .connections import cut_connection
from .fault_rules import Cut, EmptyBody, ErrorIn200, Html, LostAnswer, Outcome, RateLimit, ServerError, Timeout
from .faults import CallFaults
from .refusals import Refusal
from .replies import Reply
from .stage import Stage

AnyRequest = Request[Any, Any, Any]
Act = Callable[[bytes, CallFaults], Reply]

_HTML = b"<html>\r\n<head><title>%d</title></head>\r\n<body><center><h1>%d</h1></center></body>\r\n</html>\r\n"


@attrs.frozen
class Product:
    """How one product of a gateway words what is not about a payment."""

    authentic: Callable[[AnyRequest], bool]
    unauthorized: Callable[[AnyRequest], Reply]
    refusal: Callable[[Refusal], Reply]
    # Takes the HTTP status and the code inside the body; the two differ for an error inside HTTP 200.
    broken: Callable[[int, int], Reply]
    limited: Callable[[RateLimit], Reply]
    # Refuses what is wrong with a request whatever it asks for.
    check: Callable[[AnyRequest], None] = lambda _: None


class Gate:
    """Answers the calls of one product."""

    def __init__(self, stage: Stage, product: Product) -> None:
        self._stage = stage
        self._product = product

    async def answer(self, request: AnyRequest, call: str, act: Act) -> Response[bytes]:
        """Return the answer to one call; `act` does it, unless a fault comes first."""
        self._stage.calls[call] += 1
        body = await request.body()
        if not self._product.authentic(request):
            return to_response(self._product.unauthorized(request))
        try:
            self._product.check(request)
        except Refusal as refusal:
            return to_response(self._product.refusal(refusal))
        drawn = self._stage.faults.draw_call(call)
        await asyncio.sleep(drawn.latency_s)
        if drawn.outcome is None:
            return to_response(self._run(act, body, drawn))
        if isinstance(drawn.outcome, LostAnswer) and drawn.outcome.applied:
            self._run(act, body, drawn)
        return await self._replaced(request, drawn.outcome)

    def _run(self, act: Act, body: bytes, drawn: CallFaults) -> Reply:
        try:
            return act(body, drawn)
        except Refusal as refusal:
            return self._product.refusal(refusal)

    async def _replaced(self, request: AnyRequest, outcome: Outcome) -> Response[bytes]:
        if isinstance(outcome, Timeout):
            await _hang(request, outcome.hang_s)
        if isinstance(outcome, Timeout | Cut):
            await cut_connection(request.scope)
        return to_response(self._replacement(outcome))

    def _replacement(self, outcome: Outcome) -> Reply:
        match outcome:
            case ServerError():
                return self._product.broken(outcome.status, outcome.status)
            case Html():
                return Reply(outcome.status, _HTML % (outcome.status, outcome.status), "text/html")
            case ErrorIn200():
                return self._product.broken(200, int(outcome.status_code))
            case RateLimit():
                limited = self._product.limited(outcome)
                return attrs.evolve(limited, headers={"Retry-After": str(outcome.retry_after_s), **limited.headers})
            case EmptyBody():
                return Reply(200, b"")
            case _:
                # Cut already; nothing of this reaches the client.
                return Reply(500, b"")


async def _hang(request: AnyRequest, seconds: float) -> None:
    """Leave the client waiting this long, or until it gives up."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await request.receive())["type"] != "http.disconnect":
                pass


def basic_key(request: AnyRequest, key: str) -> bool:
    """Tell whether the caller sent this key as the user name of HTTP Basic."""
    expected = "Basic " + base64.b64encode(f"{key}:".encode()).decode()
    given = request.headers.get("authorization", "")
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def to_response(reply: Reply) -> Response[bytes]:
    """Return the answer as the web framework wants it."""
    return Response(reply.body, status_code=reply.http_status, media_type=reply.media_type, headers=dict(reply.headers))
