"""The routes of the API: every call reads its parameters, moves the ledger, tells the merchant, and answers."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Response

from payments_core_simulator.gate import AnyRequest
from payments_core_simulator.replies import Reply, json_reply

from . import params
from .api_errors import parameter_error
from .api_gate import ApiGate
from .lists import Lists
from .render import line_items, metadata_of
from .session_request import session_request
from .simulator import Simulator
from .values import Charge, Coupon, Dispute, Intent, Refund, Session, Thing

Found = TypeVar("Found", Session, Intent, Charge, Refund, Dispute, Coupon)


def api_routes(simulator: Simulator) -> list[HTTPRouteHandler]:
    """Return the handlers under `/v1`."""
    gate, calls = ApiGate(simulator), ApiCalls(simulator)
    lists = Lists(simulator)

    def creates(path: str, call: str, act: Callable[[str], Reply]) -> HTTPRouteHandler:
        @post(path)
        async def create(request: AnyRequest) -> Response[bytes]:
            return await gate.answer(request, call, lambda body, _: act(body.decode("utf-8", "replace")))

        return create

    def acts(path: str, call: str, act: Callable[[str, str], Reply]) -> HTTPRouteHandler:
        @post(path)
        async def action(request: AnyRequest, any_id: str) -> Response[bytes]:
            return await gate.answer(request, call, lambda body, _: act(any_id, body.decode("utf-8", "replace")))

        return action

    def shows(path: str, call: str, show: Callable[[str, str], Reply]) -> HTTPRouteHandler:
        @get(path)
        async def one(request: AnyRequest, any_id: str) -> Response[bytes]:
            return await gate.answer(request, call, lambda *_: show(any_id, request.url.query))

        return one

    def listed(path: str, call: str, show: Callable[[str], Reply]) -> HTTPRouteHandler:
        @get(path)
        async def many(request: AnyRequest) -> Response[bytes]:
            return await gate.answer(request, call, lambda *_: show(request.url.query))

        return many

    sessions, intents = "/v1/checkout/sessions", "/v1/payment_intents"
    return [
        creates(sessions, "session_create", calls.create_session),
        shows(f"{sessions}/{{any_id:str}}", "session_retrieve", calls.retrieve(Session)),
        listed(sessions, "session_list", lists.sessions),
        acts(f"{sessions}/{{any_id:str}}/expire", "session_expire", calls.expire_session),
        shows(f"{sessions}/{{any_id:str}}/line_items", "session_line_items", calls.line_items),
        shows(f"{intents}/{{any_id:str}}", "intent_retrieve", calls.retrieve(Intent)),
        listed(intents, "intent_list", lists.intents),
        acts(f"{intents}/{{any_id:str}}/capture", "intent_capture", calls.capture),
        acts(f"{intents}/{{any_id:str}}/cancel", "intent_cancel", calls.cancel_intent),
        creates("/v1/refunds", "refund_create", calls.create_refund),
        shows("/v1/refunds/{any_id:str}", "refund_retrieve", calls.retrieve(Refund)),
        listed("/v1/refunds", "refund_list", lists.refunds),
        acts("/v1/refunds/{any_id:str}/cancel", "refund_cancel", calls.cancel_refund),
        shows("/v1/charges/{any_id:str}", "charge_retrieve", calls.retrieve(Charge)),
        listed("/v1/charges", "charge_list", lists.charges),
        creates("/v1/coupons", "coupon_create", calls.create_coupon),
        shows("/v1/coupons/{any_id:str}", "coupon_retrieve", calls.retrieve(Coupon)),
        shows("/v1/disputes/{any_id:str}", "dispute_retrieve", calls.retrieve(Dispute)),
        listed("/v1/disputes", "dispute_list", lists.disputes),
        shows("/v1/events/{any_id:str}", "event_retrieve", calls.event),
        listed("/v1/events", "event_list", lists.events),
    ]


class ApiCalls:
    """What each call on one object does."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._ledger = simulator.ledger

    def _answer(self, thing: Thing, expand: Sequence[str]) -> Reply:
        return json_reply(200, self._simulator.renderer.render(thing, expand))

    def retrieve(self, kind: type[Found]) -> Callable[[str, str], Reply]:
        """Return the call that shows an object of this kind."""

        def show(any_id: str, query: str) -> Reply:
            wish = params.read(query, params.Params)
            self._simulator.now()
            return self._answer(self._ledger.books.get(kind, any_id), wish.expand)

        return show

    def create_session(self, body: str) -> Reply:
        """Open a page."""
        wish, now = params.read(body, params.CreateSession), self._simulator.now()
        request = session_request(wish, self._ledger.books, now, self._simulator.settings.tax_minor)
        return self._answer(self._ledger.open_session(request, now), wish.expand)

    def expire_session(self, session_id: str, body: str) -> Reply:
        """End an open page."""
        wish, now = params.read(body, params.Params), self._simulator.now()
        self._simulator.tell(self._ledger.expire_session(session_id, now))
        return self._answer(self._ledger.books.get(Session, session_id), wish.expand)

    def line_items(self, session_id: str, query: str) -> Reply:
        """List the lines of a page; all of them fit one answer."""
        params.read(query, params.Listing)
        return json_reply(200, line_items(self._ledger.books.get(Session, session_id)))

    def capture(self, intent_id: str, body: str) -> Reply:
        """Take a held amount or a part of it."""
        wish = params.read(body, params.Capture)
        self._simulator.now()
        self._simulator.tell(self._ledger.capture(intent_id, wish.amount_to_capture))
        return self._answer(self._ledger.books.get(Intent, intent_id), wish.expand)

    def cancel_intent(self, intent_id: str, body: str) -> Reply:
        """Void a hold."""
        wish, now = params.read(body, params.Cancel), self._simulator.now()
        self._simulator.tell(self._ledger.cancel_intent(intent_id, wish.cancellation_reason, now))
        return self._answer(self._ledger.books.get(Intent, intent_id), wish.expand)

    def create_refund(self, body: str) -> Reply:
        """Give money back."""
        wish, now = params.read(body, params.CreateRefund), self._simulator.now()
        made, news = self._ledger.refund(
            self._paid_by(wish),
            wish.amount,
            now,
            status=self._simulator.settings.refunds,
            reason=wish.reason,
            metadata=metadata_of(wish.metadata),
        )
        self._simulator.tell(news)
        return self._answer(made, wish.expand)

    def _paid_by(self, wish: params.CreateRefund) -> str:
        if (wish.payment_intent is None) == (wish.charge is None):
            raise parameter_error(
                "payment_intent",
                "One of the following params should be provided: payment_intent or charge.",
                "parameter_missing",
            )
        if wish.payment_intent is not None:
            return wish.payment_intent
        return self._ledger.books.get(Charge, wish.charge or "", "charge").intent_id

    def cancel_refund(self, refund_id: str, body: str) -> Reply:
        """Take back a refund that waits for the buyer."""
        wish = params.read(body, params.Params)
        self._simulator.tell(self._ledger.cancel_refund(refund_id))
        return self._answer(self._ledger.books.get(Refund, refund_id), wish.expand)

    def create_coupon(self, body: str) -> Reply:
        """Make a discount."""
        wish, now = params.read(body, params.CreateCoupon), self._simulator.now()
        if (wish.amount_off is None) == (wish.percent_off is None):
            raise parameter_error("amount_off", "You must pass either amount_off or percent_off.")
        if wish.amount_off is not None and wish.currency is None:
            raise parameter_error("currency", "Missing required param: currency.", "parameter_missing")
        made = Coupon(
            wish.id or self._ledger.books.new_id("co_"),
            now,
            wish.duration,
            amount_off=wish.amount_off,
            currency=wish.currency.lower() if wish.currency else None,
            percent_off=wish.percent_off,
            max_redemptions=wish.max_redemptions,
            redeem_by=None if wish.redeem_by is None else datetime.fromtimestamp(wish.redeem_by, UTC),
            name=wish.name,
            metadata=metadata_of(wish.metadata),
        )
        return self._answer(self._ledger.create_coupon(made), wish.expand)

    def event(self, event_id: str, query: str) -> Reply:
        """Show an event."""
        params.read(query, params.Params)
        return json_reply(200, self._simulator.events.get(event_id))
