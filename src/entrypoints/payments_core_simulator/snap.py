"""The routes of Snap: create a page, cancel it, expire it."""

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from .clock import iso_time
from .faults import CallFaults
from .gate import AnyRequest, Gate, Product
from .refusals import Refusal, Why
from .simulator import Simulator
from .snap_request import read_snap_request
from .wire_errors import SNAP_INTERNAL, SNAP_UNAUTHORIZED, Reply, json_reply, snap_error, snap_refusal

SNAP = Product(
    unauthorized=lambda: snap_error(401, SNAP_UNAUTHORIZED),
    refusal=snap_refusal,
    error=lambda http_status, _, text: snap_error(http_status, [text]),
    internal_text=SNAP_INTERNAL,
)


def snap_routes(simulator: Simulator) -> list[HTTPRouteHandler]:
    """Return the handlers under `/snap/v1/transactions`."""
    gate = Gate(simulator, SNAP)

    @post("/snap/v1/transactions")
    async def create(request: AnyRequest) -> Response[bytes]:
        def act(body: bytes, _: CallFaults) -> Reply:
            page = simulator.ledger.open_page(read_snap_request(body, request.headers), simulator.now())
            redirect_url = f"{simulator.settings.base_url}/snap/v2/vtweb/{page.token}"
            return json_reply(201, {"token": page.token, "redirect_url": redirect_url})

        return await gate.answer(request, "snap_create", act)

    @post("/snap/v1/transactions/{token:str}/cancel")
    async def cancel(request: AnyRequest, token: str) -> Response[bytes]:
        return await gate.answer(request, "token_cancel", lambda _body, _: close(token, "canceled_at"))

    @post("/snap/v1/transactions/{token:str}/expire")
    async def expire(request: AnyRequest, token: str) -> Response[bytes]:
        return await gate.answer(request, "token_expire", lambda _body, _: close(token, "expired_at"))

    def close(token: str, word: str) -> Reply:
        now = simulator.now()
        return json_reply(200, {word: iso_time(simulator.ledger.close_page(token, now).cancelled_at or now)})

    return [create, cancel, expire]


def snap_http_error(http_status: int) -> Reply:
    """Return Snap's words for a path or verb it does not have."""
    if http_status == 413:  # noqa: PLR2004 - the HTTP code itself
        return snap_refusal(Refusal(Why.TOO_LARGE, "request body is too large"))
    return snap_error(http_status, ["The requested resource is not found"])
