"""What the buyer, the bank and somebody in the dashboard do at Stripe, under `/_sim/`."""

from collections.abc import Callable
from datetime import datetime

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from payments_core_simulator.control_bodies import decode
from payments_core_simulator.gate import AnyRequest, to_response
from payments_core_simulator.refusals import Refusal, Why
from payments_core_simulator.replies import Reply, json_reply

from .control_bodies import Pay, Transition
from .objects import Json
from .simulator import Simulator
from .values import Dispute, Intent, News, Refund, Session, Try


def lever_routes(simulator: Simulator) -> list[HTTPRouteHandler]:
    """Return the handlers."""
    levers = Levers(simulator)

    @post("/pay")
    async def pay(request: AnyRequest) -> Response[bytes]:
        return to_response(levers.pay(decode(await request.body(), Pay)))

    @post("/transition")
    async def transition(request: AnyRequest) -> Response[bytes]:
        return to_response(levers.transition(decode(await request.body(), Transition)))

    return [pay, transition]


class Levers:
    """What the control endpoints do, apart from HTTP."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._ledger = simulator.ledger

    def pay(self, wish: Pay) -> Reply:
        """Record the buyer's try; answer with the session, its intent and the newest charge inside."""
        now = self._simulator.now()
        name = _one_name(wish.session, wish.order_id)
        method = wish.method or ("us_bank_account" if wish.outcome == "processing" else "card")
        tried = Try(wish.outcome, method, wish.decline_code)
        session = self._ledger.session_known_as(name)
        self._simulator.tell(self._ledger.pay(name, tried, now), notify=wish.notify)
        return self._shown(session.id)

    def transition(self, wish: Transition) -> Reply:
        """Move the payment; answer as `pay` does."""
        now = self._simulator.now()
        name = _one_name(wish.session, wish.order_id, wish.transaction_id)
        session = self._session(name)
        self._simulator.tell(self._moved(wish, session, now), notify=wish.notify)
        return self._shown(session.id)

    def _session(self, name: str) -> Session:
        books = self._ledger.books
        intent = books.find(Intent, name)
        return self._ledger.session_known_as(intent.session_id if intent else name)

    def _moved(self, wish: Transition, session: Session, now: datetime) -> list[News]:
        ledger = self._ledger
        if wish.to == "expire":
            return ledger.expire_session(session.id, now)
        intent = ledger.intent_known_as(session.id)
        moves: dict[str, Callable[[], list[News]]] = {
            "succeed": lambda: ledger.succeed(intent.id, now),
            "fail": lambda: ledger.fail(intent.id),
            "cancel": lambda: ledger.lapse(intent.id, now),
            "capture": lambda: ledger.capture(intent.id, wish.amount),
            "refund": lambda: ledger.refund(intent.id, wish.amount, now, status=self._simulator.settings.refunds)[1],
            "refund_succeeded": lambda: ledger.move_refund(self._refund(wish, intent), "succeeded"),
            "refund_failed": lambda: ledger.move_refund(self._refund(wish, intent), "failed"),
            "dispute": lambda: ledger.dispute(intent.id, wish.amount, now),
            "inquiry": lambda: ledger.dispute(intent.id, wish.amount, now, inquiry=True),
            "funds_withdrawn": lambda: ledger.move_funds(self._dispute(wish, intent), withdrawn=True),
            "funds_reinstated": lambda: ledger.move_funds(self._dispute(wish, intent), withdrawn=False),
            "dispute_won": lambda: ledger.close_dispute(self._dispute(wish, intent), won=True),
            "dispute_lost": lambda: ledger.close_dispute(self._dispute(wish, intent), won=False),
        }
        return moves[wish.to]()

    def _refund(self, wish: Transition, intent: Intent) -> str:
        return wish.id or _newest("refund", self._ledger.books.owned(Refund, intent.latest_charge or ""))

    def _dispute(self, wish: Transition, intent: Intent) -> str:
        return wish.id or _newest("dispute", self._ledger.books.owned(Dispute, intent.latest_charge or ""))

    def _shown(self, session_id: str) -> Reply:
        session = self._ledger.books.get(Session, session_id)
        body: Json = self._simulator.renderer.render(session, ["payment_intent.latest_charge"])
        return json_reply(200, body)


def _one_name(*names: str | None) -> str:
    given = [name for name in names if name is not None]
    if len(given) != 1:
        raise Refusal(Why.INVALID, "name exactly one of session, order_id, transaction_id")
    return given[0]


def _newest(what: str, things: list[Refund] | list[Dispute]) -> str:
    if not things:
        raise Refusal(Why.UNKNOWN_TRANSACTION, f"the payment has no {what}")
    return things[-1].id
