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
from .simulator import Simulator
from .wire_errors import RATE_LIMITED, Reply

AnyRequest = Request[Any, Any, Any]
Act = Callable[[bytes, CallFaults], Reply]

_HTML = b"<html>\r\n<head><title>%d</title></head>\r\n<body><center><h1>%d</h1></center></body>\r\n</html>\r\n"


@attrs.frozen
class Product:
    """How Snap or Core words what is not about a transaction. `error` takes the HTTP status, the code and a text."""

    unauthorized: Callable[[], Reply]
    refusal: Callable[[Refusal], Reply]
    error: Callable[[int, int, str], Reply]
    internal_text: str


class Gate:
    """Answers the calls of one product."""

    def __init__(self, simulator: Simulator, product: Product) -> None:
        self._simulator = simulator
        self._product = product

    async def answer(self, request: AnyRequest, call: str, act: Act) -> Response[bytes]:
        """Return the answer to one call; `act` does it, unless a fault comes first."""
        self._simulator.calls[call] += 1
        body = await request.body()
        if not self._authentic(request):
            return to_response(self._product.unauthorized())
        drawn = self._simulator.faults.draw_call(call)
        await asyncio.sleep(drawn.latency_s)
        if drawn.outcome is None:
            return to_response(self._run(act, body, drawn))
        if isinstance(drawn.outcome, LostAnswer) and drawn.outcome.applied:
            self._run(act, body, drawn)
        return await self._replaced(request, drawn.outcome)

    def _authentic(self, request: AnyRequest) -> bool:
        key = self._simulator.settings.server_key
        expected = "Basic " + base64.b64encode(f"{key}:".encode()).decode()
        given = request.headers.get("authorization", "")
        return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())

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
                return self._product.error(outcome.status, outcome.status, self._product.internal_text)
            case Html():
                return Reply(outcome.status, _HTML % (outcome.status, outcome.status), "text/html")
            case ErrorIn200():
                return self._product.error(200, int(outcome.status_code), self._product.internal_text)
            case RateLimit():
                limited = self._product.error(429, 429, RATE_LIMITED)
                return attrs.evolve(limited, headers={"Retry-After": str(outcome.retry_after_s)})
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


def to_response(reply: Reply) -> Response[bytes]:
    """Return the answer as the web framework wants it."""
    return Response(reply.body, status_code=reply.http_status, media_type=reply.media_type, headers=dict(reply.headers))
