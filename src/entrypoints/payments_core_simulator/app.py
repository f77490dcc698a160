"""Puts one simulated gateway together as an ASGI application."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.response import Response

from .control import control_http_error, control_router
from .documents import asset_routes
from .gate import AnyRequest, to_response
from .limits import REQUEST_BODY_BYTES_MAX, TICK_S
from .refusals import Refusal
from .replies import Reply, control_refusal
from .stage import SimulatedGateway, Stage

log = logging.getLogger(__name__)


def create_app(gateway: SimulatedGateway) -> Litestar:
    """Return the application; its state lives in the stage and dies with it.

    It needs a running lifespan: the clock's own moves and the deliveries are tasks of it.
    """

    def on_http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
        return to_response(_in_its_shape(gateway, request, error.status_code, error.detail))

    def on_bug(request: AnyRequest, error: Exception) -> Response[bytes]:
        log.error("a fault of the simulator itself, on %s", request.url.path, exc_info=error)
        return to_response(_in_its_shape(gateway, request, 500, "a fault of the simulator itself; see its log"))

    return Litestar(
        [*gateway.routes, *asset_routes(), control_router(gateway.stage, gateway.levers)],
        lifespan=[lambda _: _living(gateway.stage)],
        exception_handlers={Refusal: _on_refusal, HTTPException: on_http_error, Exception: on_bug},
        request_max_body_size=REQUEST_BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
    )


@asynccontextmanager
async def _living(stage: Stage) -> AsyncIterator[None]:
    ticking = asyncio.create_task(_tick(stage))
    try:
        yield
    finally:
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        await stage.notifier.close()


async def _tick(stage: Stage) -> None:
    """Let the clock do its moves also when nobody asks, so that an expiry is notified."""
    while True:
        await asyncio.sleep(TICK_S)
        stage.now()


def _on_refusal(_: AnyRequest, refusal: Refusal) -> Response[bytes]:
    """Answer a refusal of a control endpoint; every other route words its own."""
    return to_response(control_refusal(refusal))


def _in_its_shape(gateway: SimulatedGateway, request: AnyRequest, http_status: int, detail: str) -> Reply:
    path = request.url.path
    return (
        control_http_error(http_status, detail) if path.startswith("/_sim") else gateway.http_error(path, http_status)
    )
