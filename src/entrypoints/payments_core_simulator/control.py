"""The levers of tests and demos under `/_sim/`; closed to web pages and to other machines' host names."""

import re
from datetime import timedelta
from urllib.parse import urlsplit

import attrs
from litestar import Router, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from . import moves
from .clock import wire_time
from .control_bodies import Advance, Pay, Switches, Transition, amount_sen, decode
from .fault_rules import FaultPlan
from .gate import AnyRequest, to_response
from .limits import NOTIFICATION_LOG_PAGE_MAX
from .refusals import Refusal, Why
from .simulator import Simulator
from .values import Transaction, Try
from .wire_errors import Reply, control_error, json_reply

_LIMIT = re.compile(r"[0-9]{1,6}")
_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def control_router(simulator: Simulator) -> Router:
    """Return the handlers under `/_sim/`, behind the check of host and content type."""
    handlers = [*_lever_routes(simulator), *_switch_routes(simulator), *_view_routes(simulator)]
    return Router("/_sim", route_handlers=handlers, before_request=_refuse_strangers)


def _lever_routes(simulator: Simulator) -> list[HTTPRouteHandler]:
    """What the buyer, the bank and time do."""
    levers = Levers(simulator)

    @post("/pay")
    async def pay(request: AnyRequest) -> Response[bytes]:
        return to_response(levers.pay(decode(await request.body(), Pay)))

    @post("/transition")
    async def transition(request: AnyRequest) -> Response[bytes]:
        return to_response(levers.transition(decode(await request.body(), Transition)))

    @post("/clock")
    async def clock(request: AnyRequest) -> Response[bytes]:
        simulator.clock.advance(timedelta(seconds=decode(await request.body(), Advance).advance_s))
        return to_response(json_reply(200, {"now": wire_time(simulator.now())}))

    @post("/test-notification")
    async def test_notification() -> Response[bytes]:
        return to_response(json_reply(200, simulator.send_test_probe()))

    return [pay, transition, clock, test_notification]


def _switch_routes(simulator: Simulator) -> list[HTTPRouteHandler]:
    """What changes how the simulator behaves."""

    @post("/faults")
    async def faults(request: AnyRequest) -> Response[bytes]:
        simulator.plan_faults(decode(await request.body(), FaultPlan))
        return to_response(json_reply(200, simulator.faults.report()))

    @post("/settings")
    async def settings(request: AnyRequest) -> Response[bytes]:
        simulator.settings = decode(await request.body(), Switches).applied_to(simulator.settings)
        shown = attrs.asdict(simulator.settings, filter=lambda field, _: field.name != "server_key")
        return to_response(json_reply(200, shown))

    @post("/reset")
    async def reset() -> Response[bytes]:
        simulator.reset()
        return to_response(json_reply(200, {"reset": True}))

    return [faults, settings, reset]


def _view_routes(simulator: Simulator) -> list[HTTPRouteHandler]:
    """What shows the truth."""

    @get("/ledger")
    async def ledger() -> Response[bytes]:
        return to_response(json_reply(200, simulator.report()))

    @get("/faults")
    async def faults() -> Response[bytes]:
        return to_response(json_reply(200, simulator.faults.report()))

    @get("/notifications")
    async def notifications(request: AnyRequest) -> Response[bytes]:
        order_id = request.query_params.get("order_id")
        limit = _limit(request.query_params.get("limit", str(NOTIFICATION_LOG_PAGE_MAX)))
        recent = simulator.notifier.recent(limit, order_id)
        return to_response(json_reply(200, {"notifications": [one.report() for one in recent]}))

    return [ledger, faults, notifications]


def _limit(text: str) -> int:
    if not (_LIMIT.fullmatch(text) and 1 <= int(text) <= NOTIFICATION_LOG_PAGE_MAX):
        raise Refusal(Why.INVALID, f"limit: an integer from 1 to {NOTIFICATION_LOG_PAGE_MAX}")
    return int(text)


class Levers:
    """What the control endpoints do, apart from HTTP."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def pay(self, wish: Pay) -> Reply:
        """Record the buyer's try; answer with its status body."""
        simulator = self._simulator
        now = simulator.now()
        wanted = Try(wish.payment_type, wish.outcome, wish.bank or "", wish.store or "")
        made = simulator.ledger.pay(wish.order_id, wanted, now)
        return self._told((made,), notify=wish.notify)

    def transition(self, wish: Transition) -> Reply:
        """Force the move; a refund is told twice, without and with the bank's confirmation."""
        simulator, ledger = self._simulator, self._simulator.ledger
        now, sen = simulator.now(), amount_sen(wish.amount)
        ledger.force(wish.transaction_id, wish.to, now, sen)
        moved = ledger.rename(wish.transaction_id, wish.currency, wish.merchant_id)
        if wish.to not in moves.REFUNDING:
            return self._told((moved,), notify=wish.notify)
        confirmed = ledger.move(moved.transaction_id, lambda one: moves.confirm_refunds(one, now))
        return self._told((moved, confirmed), notify=wish.notify)

    def _told(self, versions: tuple[Transaction, ...], *, notify: bool) -> Reply:
        if notify:
            self._simulator.tell(versions)
        return json_reply(200, self._simulator.status_body(versions[-1]))


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
