"""The application: routes over use cases, resolved once from the container."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import structlog
from litestar import Litestar, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, License, SecurityScheme

from payments_core_app.batcher import Batcher
from payments_core_app.container import Container, close_gateways
from payments_core_app.http.auth import Guards
from payments_core_app.http.closing import Closing
from payments_core_app.http.errors import handlers
from payments_core_app.http.health import health_routes
from payments_core_app.http.history import history_routes
from payments_core_app.http.idempotency import Idempotency
from payments_core_app.http.operations import operation_routes
from payments_core_app.http.orders import order_routes
from payments_core_app.http.pages import page_routes
from payments_core_app.http.payments import payment_routes
from payments_core_app.http.requests import Call, RequestMiddleware
from payments_core_app.http.transfers import transfer_page, transfer_routes
from payments_core_app.http.webhooks import webhook_routes
from payments_core_app.logs import configure
from payments_core_app.watching import DatabaseMetrics
from payments_core_app.worker import SweepLoop
from payments_core_sqlalchemy import SqlStore

__all__ = ["build_app"]

_BODY_BYTES_MAX = 256 * 1024
"""Of every route that takes a body: an order of 500 lines has about 100 kB."""
_SWEEP_AT_ONCE = 16


def build_app(container: Container, *, sweep: bool = True) -> Litestar:
    """The HTTP application over this container; with `sweep` it attends to due work as well."""
    if not structlog.is_configured():
        configure(pretty=False)  # structlog's own default shows the values of variables, and some of ours are keys
    settings, service = container.settings(), container.service()
    guards = Guards(container.verifier(), container.store())
    idempotency = Idempotency(container.idempotency(), container.clock())
    batcher, closing = Batcher(service.receive.accept), Closing(settings.drain.total_seconds())
    database = DatabaseMetrics(container.watch(), container.clock())
    api = Router(
        path="/api",
        route_handlers=[
            *order_routes(container, guards, idempotency),
            *payment_routes(container, guards, idempotency, closing),
            *operation_routes(container, guards, idempotency),
            *transfer_routes(container, guards, idempotency),
            *history_routes(container.store(), guards),
            *webhook_routes(service.receive, batcher),
        ],
    )
    return Litestar(
        route_handlers=[
            api,
            *health_routes(settings, database, closing),
            *page_routes(settings),
            *transfer_page(container),
        ],
        exception_handlers=handlers,
        middleware=[RequestMiddleware()],
        request_class=Call,
        request_max_body_size=_BODY_BYTES_MAX,
        lifespan=[_lifespan(container, batcher, closing, sweep=sweep)],
        openapi_config=_openapi(),
        logging_config=None,
    )


def _openapi() -> OpenAPIConfig:
    bearer = SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")
    return OpenAPIConfig(
        title="payments-core",
        version="0.1.0",
        description="A shop's order gets paid exactly once. Errors are RFC 9457 problem details with a stable code.",
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        path="/schema",
        components=Components(security_schemes={"BearerToken": bearer}),
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],
    )


def _lifespan(
    container: Container, batcher: Batcher, closing: Closing, *, sweep: bool
) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    """Errands and the sweep live as long as the application; what was taken in is finished before it ends."""

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        service, background, care = container.service(), container.background(), container.care()
        await care.begin()
        background.give_way(lambda: batcher.is_pressed)
        background.begin(service.perform)
        loop = SweepLoop(service.sweep, _SWEEP_AT_ONCE, container.housekeeping())
        sweeping = asyncio.create_task(loop.run()) if sweep else None
        try:
            with closing.told_by_signals():
                yield
        finally:
            loop.stop()
            await batcher.drain()
            await asyncio.gather(background.drain(), *([loop.drain(sweeping)] if sweeping is not None else []))
            await service.refresh.drain()
            await care.end()
            await _close(container)

    return lifespan


async def _close(container: Container) -> None:
    await close_gateways(container.gateways())
    store = container.store()
    if isinstance(store, SqlStore):
        await store.close()
