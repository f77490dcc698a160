"""Puts the simulator together as one ASGI application."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.response import Response

from .control import control_http_error, control_router
from .core_api import core_http_error, core_routes
from .gate import AnyRequest, to_response
from .limits import REQUEST_BODY_BYTES_MAX, TICK_S
from .pages import page_error, page_routes
from .refusals import Refusal
from .settings import Settings
from .simulator import Simulator
from .snap import snap_http_error, snap_routes
from .wire_errors import Reply, control_refusal

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> Litestar:
    """Return the application; its state lives in it and dies with it.

    It needs a running lifespan: the clock's own moves and the deliveries are tasks of it.
    """
    simulator = Simulator(settings)
    return Litestar(
        [*snap_routes(simulator), *core_routes(simulator), control_router(simulator), *page_routes(simulator)],
        lifespan=[lambda _: _living(simulator)],
        exception_handlers={Refusal: _on_refusal, HTTPException: _on_http_error, Exception: _on_bug},
        request_max_body_size=REQUEST_BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
    )


@asynccontextmanager
async def _living(simulator: Simulator) -> AsyncIterator[None]:
    ticking = asyncio.create_task(_tick(simulator))
    try:
        yield
    finally:
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        await simulator.notifier.close()


async def _tick(simulator: Simulator) -> None:
    """Let the clock do its moves also when nobody asks, so that an expiry is notified."""
    while True:
        await asyncio.sleep(TICK_S)
        simulator.now()


def _on_refusal(_: AnyRequest, refusal: Refusal) -> Response[bytes]:
    """Answer a refusal of a control endpoint; every other route words its own."""
    return to_response(control_refusal(refusal))


def _on_http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    return to_response(_in_its_shape(request, error.status_code, error.detail))


def _on_bug(request: AnyRequest, error: Exception) -> Response[bytes]:
    log.error("a fault of the simulator itself, on %s", request.url.path, exc_info=error)
    return to_response(_in_its_shape(request, 500, "a fault of the simulator itself; see its log"))


def _in_its_shape(request: AnyRequest, http_status: int, detail: str) -> Reply:
    path = request.url.path
    if path.startswith("/v2/"):
        return core_http_error(http_status)
    if path.startswith("/snap/v1/"):
        return snap_http_error(http_status)
    if path.startswith("/_sim"):
        return control_http_error(http_status, detail)
    return page_error(http_status)
