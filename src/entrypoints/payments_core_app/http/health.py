"""Whether the process lives, and whether it can work; and its metrics."""

import hmac
import os
from typing import Any

from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from payments_core.errors import NotFound, StorageUnavailable
from payments_core_app.http.answers import PROBLEMS
from payments_core_app.http.closing import Closing
from payments_core_app.http.requests import Call
from payments_core_app.settings import Settings
from payments_core_app.tokens import Unauthenticated
from payments_core_app.watching import DatabaseMetrics
from payments_core_sqlalchemy import current_revision, head_revision, known_revisions

__all__ = ["health_routes"]


def health_routes(settings: Settings, database: DatabaseMetrics, closing: Closing) -> list[HTTPRouteHandler]:
    """`/health/live`, `/health/ready`, `/metrics`."""
    expected, older = head_revision(), known_revisions() - {head_revision()}
    shared: dict[str, Any] = {"tags": ["health"]}

    @get("/health/live", summary="The process answers", **shared)
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @get(
        "/health/ready",
        summary="The database answers, has this version's schema or a newer one, and the process was not asked to stop",
        responses={503: PROBLEMS[503]},
        **shared,
    )
    async def ready() -> dict[str, str]:
        # What a newer version has made of the schema since only has more in it: whoever serves then serves on.
        closing.refuse_new()
        revision = await current_revision(settings.database_url)
        if revision is None or revision in older:
            raise StorageUnavailable(f"the schema is at {revision or 'nothing'}, this version needs {expected}")
        return {"status": "ok", "schema": revision}

    of_database = CollectorRegistry()
    of_database.register(database)

    @get(
        "/metrics",
        summary="Prometheus metrics; off, or behind a token, by the settings",
        media_type=MediaType.TEXT,
        include_in_schema=True,
        responses={401: PROBLEMS[401], 404: PROBLEMS[404]},
        **shared,
    )
    async def metrics(request: Call) -> Response[bytes]:
        _let_in(request, settings)
        await database.look()
        told = generate_latest(_registry()) + generate_latest(of_database)
        return Response(told, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [live, ready, metrics]


def _let_in(request: Call, settings: Settings) -> None:
    """Nothing, when this caller may see the metrics.

    Errors: NotFound when they are off; Unauthenticated when a token is set and another was sent.
    """
    if not settings.metrics:
        raise NotFound("no such path")
    if settings.metrics_token is None:
        return
    sent, expected = request.headers.get("authorization", ""), f"Bearer {settings.metrics_token}"
    if not hmac.compare_digest(sent.encode(), expected.encode()):
        raise Unauthenticated("the metrics are behind PAYMENTS_METRICS_TOKEN", code="invalid_token")


def _registry() -> CollectorRegistry:
    """All processes of the server together, when there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
