"""The levers of tests and demos under `/_sim/`; closed to web pages and to other machines' host names."""

import re
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from litestar import Router, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from .control_bodies import Advance, decode
from .fault_rules import FaultPlan
from .gate import AnyRequest, to_response
from .limits import NOTIFICATION_LOG_PAGE_MAX
from .refusals import Refusal, Why
from .replies import Reply, control_error, json_reply
from .stage import Stage

_LIMIT = re.compile(r"[0-9]{1,6}")
_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def control_router(stage: Stage, levers: Sequence[HTTPRouteHandler]) -> Router:
    """Return the handlers under `/_sim/`, behind the check of host and content type."""
    handlers = [*levers, *_switch_routes(stage), *_view_routes(stage)]
    return Router("/_sim", route_handlers=handlers, before_request=_refuse_strangers)


def _switch_routes(stage: Stage) -> list[HTTPRouteHandler]:
    """What changes how the simulator behaves."""

    @post("/clock")
    async def clock(request: AnyRequest) -> Response[bytes]:
        stage.clock.advance(timedelta(seconds=decode(await request.body(), Advance).advance_s))
        return to_response(json_reply(200, {"now": stage.now().isoformat(timespec="seconds")}))

    @post("/faults")
    async def faults(request: AnyRequest) -> Response[bytes]:
        stage.plan_faults(decode(await request.body(), FaultPlan))
        return to_response(json_reply(200, stage.faults.report()))

    @post("/settings")
    async def settings(request: AnyRequest) -> Response[bytes]:
        return to_response(json_reply(200, stage.throw_switches(await request.body())))

    @post("/reset")
    async def reset() -> Response[bytes]:
        stage.reset()
        return to_response(json_reply(200, {"reset": True}))

    return [clock, faults, settings, reset]


def _view_routes(stage: Stage) -> list[HTTPRouteHandler]:
    """What shows the truth."""

    @get("/ledger")
    async def ledger() -> Response[bytes]:
        return to_response(json_reply(200, stage.report()))

    @get("/faults")
    async def faults() -> Response[bytes]:
        return to_response(json_reply(200, stage.faults.report()))

    @get("/notifications")
    async def notifications(request: AnyRequest) -> Response[bytes]:
        order_id = request.query_params.get("order_id")
        limit = _limit(request.query_params.get("limit", str(NOTIFICATION_LOG_PAGE_MAX)))
        recent = stage.notifier.recent(limit, order_id)
        return to_response(json_reply(200, {"notifications": [one.report() for one in recent]}))

    return [ledger, faults, notifications]


def _limit(text: str) -> int:
    if not (_LIMIT.fullmatch(text) and 1 <= int(text) <= NOTIFICATION_LOG_PAGE_MAX):
        raise Refusal(Why.INVALID, f"limit: an integer from 1 to {NOTIFICATION_LOG_PAGE_MAX}")
    return int(text)


async def _refuse_strangers(request: AnyRequest) -> Response[bytes] | None:
    """Refuse what a web page could send: a name that is not loopback (rebinding), or a form (cross-site request)."""
    if not _is_loopback(request.headers.get("host", "")):
        return to_response(control_error(403, "host", "control endpoints answer to a loopback Host only"))
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if request.method == "POST" and content_type != "application/json":
        return to_response(control_error(415, "content_type", "send Content-Type: application/json"))
    return None


def _is_loopback(host: str) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return False
    return parts.netloc == host and parts.username is None and parts.hostname in _LOOPBACK_NAMES


def control_http_error(http_status: int, detail: str) -> Reply:
    """Return the control shape for a path, verb or size that is not ours."""
    return control_error(http_status, f"http_{http_status}", detail)
