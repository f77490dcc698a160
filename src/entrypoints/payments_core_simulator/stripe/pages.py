"""The pay page behind a session's `url`: plain HTML and forms; nothing here needs a script.

Whoever holds the session's id is the buyer. A forged form can at most make a fake buyer pay with fake money.
"""

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from payments_core_simulator.documents import form_field, html_reply, page_error, see
from payments_core_simulator.gate import AnyRequest, to_response
from payments_core_simulator.refusals import Refusal, Why
from payments_core_simulator.replies import Reply

from . import page_views
from .simulator import Simulator
from .values import Charge, Intent, Session, Try

_TRIES = {
    "card-succeed": Try("succeeded"),
    "card-decline": Try("declined", decline_code="do_not_honor"),
    "card-funds": Try("declined", decline_code="insufficient_funds"),
    "card-3ds": Try("requires_action"),
    "bank": Try("processing", "us_bank_account"),
}


def page_routes(simulator: Simulator) -> list[HTTPRouteHandler]:
    """Return the handlers of the pay page."""
    buyer = Buyer(simulator)

    @get("/")
    async def home() -> Response[bytes]:
        return to_response(html_reply(200, page_views.home_page()))

    @get("/c/pay/{session_id:str}")
    async def show(session_id: str) -> Response[bytes]:
        return to_response(buyer.show(session_id))

    @post("/c/pay/{session_id:str}/pay")
    async def pay(request: AnyRequest, session_id: str) -> Response[bytes]:
        return to_response(buyer.pay(session_id, form_field(await request.body(), "choice")))

    @post("/c/pay/{session_id:str}/step")
    async def step(request: AnyRequest, session_id: str) -> Response[bytes]:
        return to_response(buyer.step(session_id, form_field(await request.body(), "step")))

    return [home, show, pay, step]


class Buyer:
    """What the person in front of the page can do. Every form leads back to the page, which shows what is true now."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._books = simulator.ledger.books

    def show(self, session_id: str) -> Reply:
        """Return the page as it stands: payable, done or dead."""
        self._simulator.now()
        session = self._books.find(Session, session_id)
        if session is None:
            return page_error(404)
        intent = self._books.find(Intent, session.intent_id or "")
        if session.status == "complete":
            return html_reply(200, page_views.result_page(session, intent))
        if session.status == "expired":
            return html_reply(410, page_views.expired_page(session))
        charges = [self._books.get(Charge, one) for one in intent.charge_ids] if intent else []
        return html_reply(200, page_views.pay_page(session, intent, charges))

    def pay(self, session_id: str, value: str) -> Reply:
        """Try what the buyer chose."""
        now = self._simulator.now()
        if self._books.find(Session, session_id) is None:
            return page_error(404)
        if value not in _TRIES:
            return page_error(400)
        try:
            self._simulator.tell(self._simulator.ledger.pay(session_id, _TRIES[value], now))
        except Refusal as refusal:
            # A page that was paid or closed meanwhile shows just that.
            if refusal.why is not Why.PAGE_DEAD:
                return page_error(409 if refusal.why is Why.FULL else 400)
        return see(f"/c/pay/{session_id}")

    def step(self, session_id: str, step: str) -> Reply:
        """Pass or fail what waits: 3-D Secure, or the money of a delayed method."""
        now = self._simulator.now()
        session = self._books.find(Session, session_id)
        if session is None or session.intent_id is None:
            return page_error(404)
        if step not in {"succeed", "fail"}:
            return page_error(400)
        ledger, intent_id = self._simulator.ledger, session.intent_id
        # What no longer waits stays as it is.
        if self._books.get(Intent, intent_id).status in {"processing", "requires_action"}:
            self._simulator.tell(ledger.succeed(intent_id, now) if step == "succeed" else ledger.fail(intent_id))
        return see(f"/c/pay/{session_id}")
