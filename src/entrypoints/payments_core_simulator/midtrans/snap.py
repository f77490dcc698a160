"""The routes of Snap: create a page, cancel it, expire it."""

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from payments_core_simulator.faults import CallFaults
from payments_core_simulator.gate import AnyRequest, Gate, Product, basic_key
from payments_core_simulator.refusals import Refusal, Why
from payments_core_simulator.replies import Reply, json_reply

from .simulator import Simulator
from .snap_request import read_snap_request
from .times import iso_time
from .wire_errors import RATE_LIMITED, SNAP_INTERNAL, SNAP_UNAUTHORIZED, snap_error, snap_refusal


def snap_routes(simulator: Simulator) -> list[HTTPRouteHandler]:
    """Return the handlers under `/snap/v1/transactions`."""
    gate = Gate(simulator, _product(simulator))

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


def _product(simulator: Simulator) -> Product:
    return Product(
        authentic=lambda request: basic_key(request, simulator.settings.server_key),
        unauthorized=lambda _: snap_error(401, SNAP_UNAUTHORIZED),
        refusal=snap_refusal,
        broken=lambda http_status, _: snap_error(http_status, [SNAP_INTERNAL]),
        limited=lambda _: snap_error(429, [RATE_LIMITED]),
    )


def snap_http_error(http_status: int) -> Reply:
    """Return Snap's words for a path or verb it does not have."""
    if http_status == 413:  # noqa: PLR2004 - the HTTP code itself
        return snap_refusal(Refusal(Why.TOO_LARGE, "request body is too large"))
    return snap_error(http_status, ["The requested resource is not found"])
