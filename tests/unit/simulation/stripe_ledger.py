"""The far side with Stripe's manners: sessions with one intent for all tries, idempotency keys, refunds, disputes.

It speaks Stripe's objects, so that the real adapter reads them; every amount is kept in the core's minor units, which
are Stripe's for the currency of these worlds. Written from the published pages and not from the adapter.
"""

import json
from collections.abc import Callable

import attrs

from payments_core.states import Signal
from payments_core_stripe.client import ApiRefusal, Object
from payments_core_stripe.settings import API_VERSION
from unit.simulation.far_side import Dispute, FarSide, Letter, Snapshot, Transaction, strangers_key, written
from unit.simulation.stripe_objects import Session, show_charge, show_dispute, show_intent, show_refund, show_session

__all__ = ["STRIPE", "Broken", "StripeLedger"]

STRIPE = "stripe"
_KEYS_KEPT_S = 24 * 3600.0
_LIVES_S = (30 * 60.0, 24 * 3600.0)
"""What Stripe allows a session, in seconds from its creation by its own clock."""
_TRIED_AGAIN = ("requires_payment_method", "requires_action")
_FOUGHT = ("needs_response", "under_review")


class Broken(Exception):
    """Stripe fails inside, and keeps that under the key."""


@attrs.define(slots=False)
class StripeLedger(FarSide):
    """Every session, intent, refund and dispute. `began` is the epoch at which its clock showed zero."""

    began: float = 0.0
    fails_inside: str = ""
    """`done` or `undone`: requests under a key answer 500, now and whenever they are repeated."""
    _kept: dict[str, tuple[float, str, Object | Exception]] = attrs.field(factory=dict)
    _newest: dict[str, dict[str, Letter]] = attrs.field(factory=dict)
    """By transaction, the newest event about each object of it."""
    _ids: int = 0

    def be_well(self) -> None:
        super().be_well()
        self.fails_inside = ""

    # ── the API ───────────────────────────────────────────────────────────────────────────────────────────────────
    def keyed(self, key: str, params: Object, work: Callable[[Object], Object]) -> Object:
        """What this request gets, or got the first time under its key: a day long, refusals and failures too.

        Errors: ApiRefusal; Broken for a 500 that is not a repetition.
        """
        said, kept = json.dumps(params), self._kept.get(key)
        if kept is not None and self.clock() - kept[0] < _KEYS_KEPT_S:
            if kept[1] != said:
                self.complaints.append(f"key {key} was used for two different requests")
                raise ApiRefusal(400, "idempotency_error", "Keys for idempotent requests ...")
            if isinstance(kept[2], Exception):
                raise kept[2]
            return kept[2]
        try:
            answer: Object | Exception = self._failing_inside(params, work)
        except ApiRefusal as refusal:
            if refusal.code == "parameter_invalid":  # a request that is none burns no key
                raise
            answer = refusal
        self._kept[key] = (self.clock(), said, answer)
        if isinstance(answer, ApiRefusal) and answer.code == "replayed":
            raise Broken
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _failing_inside(self, params: Object, work: Callable[[Object], Object]) -> Object | Exception:
        """A failure, of which nobody knows whether it was before or after the deed, or the answer."""
        answer = work(params) if self.fails_inside != "undone" else {}
        return ApiRefusal(500, "replayed", "An unknown error occurred") if self.fails_inside else answer

    def create(self, params: Object) -> Object:
        """A session."""
        order_id = params["client_reference_id"]
        self.calls.append(("open", order_id))
        lives_s = params["expires_at"] - self.began - self.clock()
        if self.refuse_pages or not _LIVES_S[0] <= lives_s <= _LIVES_S[1]:
            raise ApiRefusal(400, "parameter_invalid", "The `expires_at` timestamp must be within 24 hours")
        if order_id in self.pages:
            self.complaints.append(f"{order_id} has two sessions")
        total = sum(line["quantity"] * line["price_data"]["unit_amount"] for line in params["line_items"])
        ends_at = params["expires_at"] - self.began
        session = Session(order_id, total, ends_at, [self._id("cs_test")], "", params=params)
        session.statuses.append((self.clock(), "open"))
        self.pages[order_id] = session
        self.page_made(session)
        return self._session_now(session)

    def expire(self, session_id: str) -> Object:
        """The session, which nobody can pay on any more."""
        session = self.known(session_id)
        self.calls.append(("close", session.order_id))
        if session.status != "open":
            raise ApiRefusal(400, "", 'Only Checkout Sessions with a status in ["open"] can be expired.')
        self.expires(session)
        return self._session_now(session)

    def capture(self, intent_id: str, minor: int) -> Object:
        """Held money taken, all of it or less."""
        self.calls.append(("capture", intent_id))
        intent = self._intent(intent_id)
        if intent.now.status != "requires_capture" or minor > intent.now.minor or self.refuse_operations:
            raise ApiRefusal(400, "payment_intent_unexpected_state", "This PaymentIntent could not be captured")
        self._becomes(intent, "succeeded", "payment_intent.succeeded", minor=minor)
        return self._intent_now(intent)

    def cancel(self, intent_id: str) -> Object:
        """A hold is let go; what an open session manages is not."""
        self.calls.append(("cancel", intent_id))
        intent = self._intent(intent_id)
        open_still = self._session_of(intent).status == "open"
        if open_still or intent.now.status not in ("requires_capture", *_TRIED_AGAIN):
            raise ApiRefusal(400, "payment_intent_unexpected_state", "You cannot cancel this PaymentIntent")
        self._becomes(intent, "canceled", "payment_intent.canceled")
        return self._intent_now(intent)

    def refund(self, params: Object) -> Object:
        """Money given back."""
        intent, minor = self._intent(params["payment_intent"]), params["amount"]
        self.calls.append(("refund", params["metadata"]["refund_key"]))
        fought = any(dispute.status in _FOUGHT for dispute in intent.now.disputes)
        if intent.now.status != "succeeded" or minor > intent.now.free_minor or fought or self.refuse_operations:
            raise ApiRefusal(400, "charge_already_refunded", "Charge has already been refunded.")
        return self._give_back(intent, params["metadata"]["refund_key"], minor)

    def known(self, session_id: str) -> Session:
        """The session of this id. Errors: ApiRefusal."""
        session = next((s for s in self._sessions() if s.tokens[0] == session_id), None)
        if session is None:
            raise ApiRefusal(404, "resource_missing", "No such checkout.session")
        return session

    def session_with(self, intent_id: str, at: float) -> Object | None:
        """The session this intent was made by."""
        session = next((s for s in self._sessions() if s.intent_id == intent_id), None)
        return None if session is None else show_session(session, self._intent(intent_id), at)

    def intent(self, intent_id: str, at: float) -> Object:
        """This intent with its charge. Errors: ApiRefusal."""
        self.calls.append(("read", intent_id))
        intent = self._intent(intent_id)
        return show_intent(self._session_of(intent), intent, at, whole=True)

    def session(self, session_id: str, at: float) -> Object:
        """This session with its intent. Errors: ApiRefusal."""
        self.calls.append(("read", session_id))
        session = self.known(session_id)
        return show_session(session, self.transactions.get(session.intent_id or ""), at, whole=True)

    def refunds(self, intent_id: str, at: float) -> list[Object]:
        """The refunds of this intent."""
        intent = self._intent(intent_id)
        then = intent.as_of(at)
        return [show_refund(intent, *refund) for refund in then.refunds] if then else []

    def disputes(self, intent_id: str, at: float) -> list[Object]:
        """The disputes about this intent."""
        intent = self._intent(intent_id)
        then = intent.as_of(at)
        return [show_dispute(intent, dispute) for dispute in then.disputes] if then else []

    # ── what a buyer, a bank and Stripe itself do ─────────────────────────────────────────────────────────────────
    def buyer_tries(self, order_id: str, token: str, word: Signal, method: str) -> str | None:
        """The intent of a try on this session, None when it cannot be paid; after a declined one others may follow."""
        session = self._session(order_id)
        if not self.is_payable(session) or session.tokens[0] != token:
            return None
        intent = self._begun(session)
        intent.method = "card" if word is not Signal.PENDING else method
        match word:
            case Signal.SETTLED:
                self._completed(session)
                self._becomes(intent, "succeeded", "payment_intent.succeeded", "charge.succeeded", session=session)
            case Signal.AUTHORIZED:
                self._completed(session)
                self._becomes(intent, "requires_capture", "payment_intent.amount_capturable_updated", session=session)
            case Signal.DENIED:
                kind = "payment_intent.payment_failed"
                self._becomes(intent, "requires_payment_method", kind, declined="insufficient_funds")
            case _ if method == "card":
                self._becomes(intent, "requires_action", "payment_intent.requires_action")
            case _:
                self._completed(session)
                self._becomes(intent, "processing", "payment_intent.processing", session=session)
        return intent.transaction_id

    def bank_decides(self, intent_id: str, *, good: bool) -> None:
        """A delayed method brought its money, or bounced."""
        intent = self._intent(intent_id)
        if intent.now.status != "processing":
            return
        session = self._session_of(intent)
        if good:
            self._becomes(intent, "succeeded", "payment_intent.succeeded", "charge.succeeded")
        else:
            self._becomes(intent, "requires_payment_method", "payment_intent.payment_failed", declined="bounced")
        word = "succeeded" if good else "failed"
        self._tell(f"checkout.session.async_payment_{word}", self._session_now(session), intent)

    def expires(self, session: Session) -> None:
        """A session comes to its end, and the intent on it."""
        if session.status != "open":
            return
        session.gone = True
        session.statuses.append((self.clock(), "expired"))
        intent = self.transactions.get(session.intent_id or "")
        self._tell("checkout.session.expired", self._session_now(session), intent)
        if intent is not None:
            self._becomes(intent, "canceled", "payment_intent.canceled")

    def lapses(self, intent_id: str) -> None:
        """Held money is let go by the bank."""
        if self._intent(intent_id).now.status == "requires_capture":
            self._becomes(self._intent(intent_id), "canceled", "payment_intent.canceled")

    def dashboard_refund(self, intent_id: str, minor: int) -> None:
        """Somebody gave money back by hand."""
        intent = self._intent(intent_id)
        fought = any(dispute.status in _FOUGHT for dispute in intent.now.disputes)
        if intent.now.status == "succeeded" and not fought and 0 < minor <= intent.now.free_minor:
            self._give_back(intent, None, minor)

    def settle_refunds(self, intent_id: str, news: str) -> None:
        """The bank has the last word on refunds that waited for it: `confirmed` or `returned`."""
        self._refunds_become(self._intent(intent_id), "pending", news)

    def refunds_come_back(self, intent_id: str) -> None:
        """Refunds that had gone through were not taken by the buyer's bank after all."""
        self._refunds_become(self._intent(intent_id), "confirmed", "returned")

    def dispute_opens(self, intent_id: str, minor: int) -> None:
        """The buyer's bank takes money back until it is decided; what was on its way to the buyer fails."""
        intent = self._intent(intent_id)
        fought = any(dispute.status in _FOUGHT for dispute in intent.now.disputes)
        if intent.now.status != "succeeded" or fought or not 0 < minor <= intent.now.free_minor:
            return
        self.settle_refunds(intent_id, "returned")
        opened = Dispute(self._id("dp"), minor, "needs_response")
        self._disputed(intent, opened, "charge.dispute.created")
        self._disputed(intent, attrs.evolve(opened, withdrawn=True), "charge.dispute.funds_withdrawn")

    def dispute_closes(self, intent_id: str, *, won: bool) -> None:
        """The open dispute is decided."""
        intent = self._intent(intent_id)
        dispute = next((dispute for dispute in intent.now.disputes if dispute.status in _FOUGHT), None)
        if dispute is None:
            return
        closed = attrs.evolve(dispute, status="won" if won else "lost")
        if won:
            closed = attrs.evolve(closed, withdrawn=False)
            self._disputed(intent, closed, "charge.dispute.funds_reinstated")
        self._disputed(intent, closed, "charge.dispute.closed")

    # ── how things change ─────────────────────────────────────────────────────────────────────────────────────────
    def _id(self, prefix: str) -> str:
        self._ids += 1
        return f"{prefix}_{self._ids}"

    def _sessions(self) -> list[Session]:
        return [page for page in self.pages.values() if isinstance(page, Session)]

    def _session(self, order_id: str) -> Session:
        session = self.pages[order_id]
        assert isinstance(session, Session)
        return session

    def _session_of(self, intent: Transaction) -> Session:
        return self._session(intent.order_id)

    def _intent(self, intent_id: str) -> Transaction:
        intent = self.transactions.get(intent_id)
        if intent is None:
            raise ApiRefusal(404, "resource_missing", "No such payment_intent")
        return intent

    def _begun(self, session: Session) -> Transaction:
        if session.intent_id is not None:
            return self._intent(session.intent_id)
        first = Snapshot(Signal.PENDING, session.minor, status="requires_payment_method")
        intent = Transaction(self._id("pi"), session.order_id, "card", [(self.clock(), first)])
        session.intent_id = intent.transaction_id
        self.transactions[intent.transaction_id] = intent
        self._tell("payment_intent.created", self._intent_now(intent), intent)
        return intent

    def _completed(self, session: Session) -> None:
        session.gone = True
        session.statuses.append((self.clock(), "complete"))

    def _becomes(
        self,
        intent: Transaction,
        status: str,
        *kinds: str,
        minor: int | None = None,
        declined: str | None = None,
        session: Session | None = None,
    ) -> None:
        word = self._word(intent, status)
        taken = intent.now.minor if minor is None else minor
        self._append(intent, attrs.evolve(intent.now, word=word, status=status, minor=taken, declined=declined))
        for kind in kinds:
            of_charge = kind.startswith("charge.")
            about = show_charge(self._session_of(intent), intent, intent.now) if of_charge else self._intent_now(intent)
            self._tell(kind, about, intent)
        if session is not None:
            self._tell("checkout.session.completed", self._session_now(session), intent)

    def _word(self, intent: Transaction, status: str) -> Signal:
        page = self._session_of(intent).status
        match status:
            case "requires_payment_method":
                return Signal.FAILED if page == "complete" else Signal.PENDING
            case "canceled":
                return Signal.EXPIRED if page == "expired" else Signal.CANCELLED
            case "succeeded":
                return Signal.SETTLED
            case "requires_capture":
                return Signal.AUTHORIZED
            case _:
                return Signal.PENDING

    def _give_back(self, intent: Transaction, key: str | None, minor: int) -> Object:
        refund = (key or strangers_key(self._id("re")), minor, "pending" if self.refunds_wait else "confirmed")
        self._append(intent, attrs.evolve(intent.now, refunds=(*intent.now.refunds, refund)))
        self._tell("refund.created", show_refund(intent, *refund), intent)
        self._tell("charge.refunded", show_charge(self._session_of(intent), intent, intent.now), intent)
        return show_refund(intent, *refund)

    def _refunds_become(self, intent: Transaction, was: str, news: str) -> None:
        moved = [refund for refund in intent.now.refunds if refund[2] == was]
        if not moved:
            return
        refunds = tuple((k, m, news if state == was else state) for k, m, state in intent.now.refunds)
        self._append(intent, attrs.evolve(intent.now, refunds=refunds))
        for key, minor, _ in moved:
            kind = "refund.failed" if news == "returned" else "refund.updated"
            self._tell(kind, show_refund(intent, key, minor, news), intent)

    def _disputed(self, intent: Transaction, dispute: Dispute, kind: str) -> None:
        others = tuple(known for known in intent.now.disputes if known.dispute_id != dispute.dispute_id)
        disputes = (*others, dispute)
        gone = sum(known.minor for known in disputes if known.withdrawn)
        if disputes != intent.now.disputes:
            self._append(intent, attrs.evolve(intent.now, disputes=disputes, charged_back=gone))
        self._tell(kind, show_dispute(intent, dispute), intent)

    def _session_now(self, session: Session) -> Object:
        return show_session(session, self.transactions.get(session.intent_id or ""), self.clock())

    def _intent_now(self, intent: Transaction) -> Object:
        return show_intent(self._session_of(intent), intent, self.clock())

    # ── what it tells ─────────────────────────────────────────────────────────────────────────────────────────────
    def _tell(self, kind: str, about: Object, intent: Transaction | None) -> None:
        event = {
            "id": self._id("evt"),
            "type": kind,
            "api_version": API_VERSION,
            "created": int(self.began + self.clock()),
            "livemode": False,
            "data": {"object": about},
        }
        letter = Letter(STRIPE, written(event))
        if intent is not None:
            self._newest.setdefault(intent.transaction_id, {})[about["id"]] = letter
        self.told(letter)

    def last_words(self, transaction: Transaction) -> list[Letter]:
        """The newest event about each object of it: a refund's news is told by its own events, and by no other's."""
        return [*self._newest[transaction.transaction_id].values()]
