"""Whether the process lives, and whether it can work; and its metrics."""

import os
from typing import Any

from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from payments_core.errors import StorageUnavailable
from payments_core_app.http.answers import PROBLEMS
from payments_core_sqlalchemy import current_revision, head_revision

__all__ = ["health_routes"]


def health_routes(database_url: str) -> list[HTTPRouteHandler]:
    """`/health/live`, `/health/ready`, `/metrics`."""
    expected = head_revision()
    shared: dict[str, Any] = {"tags": ["health"]}

    @get("/health/live", summary="The process answers", **shared)
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @get(
        "/health/ready",
        summary="The database answers, and has this version's schema",
        responses={503: PROBLEMS[503]},
        **shared,
    )
    async def ready() -> dict[str, str]:
        revision = await current_revision(database_url)
        if revision != expected:
            raise StorageUnavailable(f"the schema is at {revision or 'nothing'}, this version needs {expected}")
        return {"status": "ok", "schema": expected}

    @get("/metrics", summary="Prometheus metrics", media_type=MediaType.TEXT, include_in_schema=True, **shared)
    async def metrics() -> Response[bytes]:
        return Response(generate_latest(_registry()), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [live, ready, metrics]


def _registry() -> CollectorRegistry:
    """All processes of the server together, when there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
