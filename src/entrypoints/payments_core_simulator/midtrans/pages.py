"""The pay page behind `redirect_url`: plain HTML and forms; nothing here needs a script.

Whoever holds the token is the buyer. A forged form can at most make a fake buyer pay with fake money.
"""

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from payments_core_simulator.documents import form_field, html_reply, page_error, see
from payments_core_simulator.gate import AnyRequest, to_response
from payments_core_simulator.refusals import Refusal, Why
from payments_core_simulator.replies import Reply

from . import moves, page_views
from .page_choices import chosen, outcome_when_paid
from .simulator import Simulator
from .values import Page, Transaction


def page_routes(simulator: Simulator) -> list[HTTPRouteHandler]:
    """Return the handlers of the pay page."""
    buyer = Buyer(simulator)

    @get("/")
    async def home() -> Response[bytes]:
        return to_response(html_reply(200, page_views.home_page()))

    @get("/snap/v2/vtweb/{token:str}")
    async def show(token: str) -> Response[bytes]:
        return to_response(buyer.show(token))

    @post("/snap/v2/vtweb/{token:str}/pay")
    async def pay(request: AnyRequest, token: str) -> Response[bytes]:
        return to_response(buyer.pay(token, form_field(await request.body(), "choice")))

    @post("/snap/v2/vtweb/{token:str}/transactions/{transaction_id:str}")
    async def step(request: AnyRequest, token: str, transaction_id: str) -> Response[bytes]:
        return to_response(buyer.step(token, transaction_id, form_field(await request.body(), "step")))

    return [home, show, pay, step]


class Buyer:
    """What the person in front of the page can do. Every form leads back to the page, which shows what is true now."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def show(self, token: str) -> Reply:
        """Return the page as it stands: payable, done or dead."""
        now = self._simulator.now()
        page = self._page(token)
        if page is None:
            return page_error(404)
        transactions = self._simulator.ledger.transactions(page)
        done = next((one for one in reversed(transactions) if _buyer_is_done(one)), None)
        if done is not None:
            return html_reply(200, page_views.result_page(page, done))
        if not page.open_at(now):
            return html_reply(410, page_views.dead_page(page, transactions[-1] if transactions else None))
        return html_reply(200, page_views.pay_page(page, transactions))

    def pay(self, token: str, value: str) -> Reply:
        """Try what the buyer chose."""
        now = self._simulator.now()
        page = self._page(token)
        if page is None:
            return page_error(404)
        wish = chosen(page.request, value)
        if wish is None:
            return page_error(400)
        if self._takes_payment(page):
            try:
                self._simulator.tell((self._simulator.ledger.pay(page.order_id, wish, now),))
            except Refusal as refusal:
                if refusal.why is not Why.PAGE_DEAD:
                    return page_error(409)
        return _see(token)

    def step(self, token: str, transaction_id: str, step: str) -> Reply:
        """Pay, cancel or let expire what is pending; what is no longer pending stays as it is."""
        now = self._simulator.now()
        page = self._page(token)
        if page is None or transaction_id not in page.transaction_ids:
            return page_error(404)
        current = self._simulator.ledger.find(transaction_id)
        words = {"paid": outcome_when_paid(page.request, current.payment_type), "cancel": "cancel", "expire": "expire"}
        if step not in words:
            return page_error(400)
        if current.status == "pending":
            self._simulator.tell((self._simulator.ledger.force(transaction_id, words[step], now),))
        return _see(token)

    def _page(self, token: str) -> Page | None:
        try:
            return self._simulator.ledger.page_by_token(token)
        except Refusal:
            return None

    def _takes_payment(self, page: Page) -> bool:
        """Tell whether a buyer may still try: after one success the page offers nothing more."""
        return not any(_buyer_is_done(one) for one in self._simulator.ledger.transactions(page))


def _buyer_is_done(transaction: Transaction) -> bool:
    return transaction.status != "pending" and transaction.status not in moves.ENDED_WITHOUT_MONEY


def _see(token: str) -> Reply:
    return see(f"/snap/v2/vtweb/{token}")
