"""What happens at the simulated Stripe: the buyer's tries, the merchant's calls, the bank's words, and time.

No input, no output, no clock of its own: each call is told the time. Each changes everything it says, and returns the
news of it in the order it happened; or, with a refusal, changes nothing.
"""

from collections.abc import Callable
from datetime import datetime

import attrs

from payments_core_simulator.refusals import Refusal, Why

from .api_errors import ApiRefusal
from .books import Books, new_id
from .limits import CHARGES_PER_INTENT_MAX, COUPONS_MAX, REFUNDS_PER_CHARGE_MAX, SESSIONS_MAX
from .values import (
    Charge,
    Coupon,
    Decline,
    Dispute,
    Intent,
    Metadata,
    News,
    Refund,
    Session,
    SessionRequest,
    Try,
)

# Methods that answer at once, and those whose money comes days later.
METHODS = {"card": False, "us_bank_account": True, "sepa_debit": True}
DECLINED = "Your card was declined."
_NOT_AUTHENTICATED = Decline(
    "payment_intent_authentication_failure",
    "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new PaymentMethod "
    "to attempt to fulfill this PaymentIntent again.",
)
_BOUNCED = Decline("payment_intent_payment_attempt_failed", "The payment failed.")


class Ledger:
    """What really happened."""

    def __init__(self, make_id: Callable[[str], str] = new_id) -> None:
        self.books = Books(make_id)

    def clear(self) -> None:
        """Forget everything."""
        self.books.clear()

    # --- the merchant's calls ----------------------------------------------------------------------------------------

    def open_session(self, request: SessionRequest, now: datetime) -> Session:
        """Open a page; a coupon it names is used up by one."""
        if self.books.count(Session) >= SESSIONS_MAX:
            raise Refusal(Why.FULL, f"the simulator holds {SESSIONS_MAX} sessions; reset it")
        if request.coupon_id is not None:
            coupon = self.books.get(Coupon, request.coupon_id, "discounts[0][coupon]")
            self.books.put(attrs.evolve(coupon, times_redeemed=coupon.times_redeemed + 1))
        session = self.books.put(Session(self.books.new_id("cs_test_"), request, now))
        self.books.remind(request.expires_at, session.id)
        return session

    def expire_session(self, session_id: str, now: datetime) -> list[News]:
        """End a page that is open, and the intent the buyer left on it."""
        session = self.books.get(Session, session_id)
        if session.status != "open":
            raise ApiRefusal.state(
                f'Only Checkout Sessions with a status in ["open"] can be expired. This Session has a status of '
                f"`{session.status}`."
            )
        return self._expire(session, now)

    def _expire(self, session: Session, now: datetime) -> list[News]:
        news: list[News] = [("checkout.session.expired", self.books.put(attrs.evolve(session, status="expired")))]
        intent = self._intent_of(session)
        return news if intent is None else [*news, *self._cancelled(intent, "automatic", now)]

    def capture(self, intent_id: str, amount: int | None) -> list[News]:
        """Take a held amount or less of it; the rest is released."""
        intent = self._only(intent_id, "captured", "requires_capture")
        taken = intent.amount if amount is None else amount
        if not 0 < taken <= intent.amount:
            raise ApiRefusal.state(
                f"The requested capture amount is greater than the amount you can capture for this charge: "
                f"{taken} of {intent.amount}.",
                "amount_too_large" if taken > 0 else "parameter_invalid_integer",
                "amount_to_capture",
            )
        charge = self._charge_of(intent)
        captured = self.books.put(attrs.evolve(charge, captured=True, amount_captured=taken))
        paid = self.books.put(attrs.evolve(intent, status="succeeded", amount_received=taken))
        self._settle_session(paid)
        news: list[News] = [("charge.captured", captured), ("payment_intent.succeeded", paid)]
        released = self._released(captured)
        return news if released is None else [*news, ("charge.refunded", released)]

    def cancel_intent(self, intent_id: str, reason: str | None, now: datetime) -> list[News]:
        """Void a hold, or give up an intent whose page is over."""
        intent = self._only(intent_id, "canceled", "requires_capture", "requires_payment_method", "requires_action")
        if self.books.get(Session, intent.session_id).status == "open":
            raise ApiRefusal.state(
                "You cannot cancel this PaymentIntent because it is managed by a Checkout Session that is open. "
                "Expire the Session instead.",
                "payment_intent_unexpected_state",
            )
        return self._cancelled(intent, reason, now)

    def _cancelled(self, intent: Intent, reason: str | None, now: datetime) -> list[News]:
        held = intent.status == "requires_capture"
        ended = attrs.evolve(intent, status="canceled", canceled_at=now, cancellation_reason=reason)
        released = self._released(self._charge_of(intent)) if held else None
        news: list[News] = [] if released is None else [("charge.refunded", released)]
        return [*news, ("payment_intent.canceled", self.books.put(ended))]

    # Whether what nobody took of a hold shows as a refund of its charge; the settings say so.
    released_as_refund = False

    def _released(self, charge: Charge) -> Charge | None:
        rest = charge.amount - charge.amount_captured
        if not self.released_as_refund or rest == 0:
            return None
        return self.books.put(attrs.evolve(charge, amount_released=rest))

    def refund(
        self,
        intent_id: str,
        amount: int | None,
        now: datetime,
        *,
        status: str = "succeeded",
        reason: str | None = None,
        metadata: Metadata = (),
    ) -> tuple[Refund, list[News]]:
        """Give money back; all that is left when no amount is named."""
        intent = self.books.get(Intent, intent_id, "payment_intent")
        charge = self._refundable(intent)
        wanted = charge.left if amount is None else amount
        if wanted > charge.left:
            raise ApiRefusal.state(
                f"Refund amount ({wanted}) is greater than unrefunded amount on charge ({charge.left})",
                param="amount",
            )
        made = Refund(
            self.books.new_id("re_"), charge.id, intent.id, now, wanted, charge.currency, status, reason, metadata
        )
        self.books.put(made)
        counted = self._count_refunds(charge)
        return made, [("refund.created", made), ("charge.refunded", counted)]

    def _refundable(self, intent: Intent) -> Charge:
        if intent.status != "succeeded":
            raise ApiRefusal.state(
                f"This PaymentIntent ({intent.id}) does not have a successful charge to refund.",
                "payment_intent_unexpected_state",
            )
        charge = self._charge_of(intent)
        if charge.disputed:
            raise ApiRefusal.state(
                f"Charge {charge.id} has been charged back; cannot issue a refund.", "charge_disputed"
            )
        if charge.left <= 0:
            raise ApiRefusal.state(f"Charge {charge.id} has already been refunded.", "charge_already_refunded")
        if len(self.books.owned(Refund, charge.id)) >= REFUNDS_PER_CHARGE_MAX:
            raise Refusal(Why.FULL, f"the charge has {REFUNDS_PER_CHARGE_MAX} refunds already")
        return charge

    def cancel_refund(self, refund_id: str) -> list[News]:
        """Take back a refund that waits for the buyer's details."""
        refund = self.books.get(Refund, refund_id)
        if refund.status != "requires_action":
            raise ApiRefusal.state("Only refunds with a status of requires_action can be canceled.")
        return self._refund_moved(refund, "canceled", None)

    def create_coupon(self, coupon: Coupon) -> Coupon:
        """Keep a discount under its id."""
        if self.books.find(Coupon, coupon.id) is not None:
            raise ApiRefusal.state("Coupon already exists.", "resource_already_exists", "id")
        if self.books.count(Coupon) >= COUPONS_MAX:
            raise Refusal(Why.FULL, f"the simulator holds {COUPONS_MAX} coupons; reset it")
        return self.books.put(coupon)

    # --- the buyer ---------------------------------------------------------------------------------------------------

    def pay(self, session_id: str, wish: Try, now: datetime) -> list[News]:
        """Record what the buyer tried on the page, and how it ended so far; every try is on the same intent."""
        session = self.session_known_as(session_id)
        if session.status != "open":
            raise Refusal(Why.PAGE_DEAD, f"the page of {session_id!r} is {session.status}")
        if wish.method not in METHODS:
            raise Refusal(Why.NONSENSE, f"method: unknown {wish.method!r}; one of {', '.join(METHODS)}")
        if session.request.total == 0:
            free = attrs.evolve(session, status="complete", payment_status="no_payment_required")
            return [("checkout.session.completed", self.books.put(free))]
        self._refuse_nonsense(session, wish)
        known = self._intent_of(session)
        if known is not None and len(known.charge_ids) >= CHARGES_PER_INTENT_MAX:
            raise Refusal(Why.FULL, f"the intent has {CHARGES_PER_INTENT_MAX} tries already")
        intent, news = self._begun(session, now)
        tries: dict[str, Callable[[Intent, Try, datetime], list[News]]] = {
            "succeeded": lambda one, _, at: self._succeed(one, at),
            "declined": self._decline,
            "requires_action": lambda one, _, __: self._ask_buyer(one),
            "processing": lambda one, _, at: self._wait_for_bank(one, at),
        }
        tried = self.books.put(attrs.evolve(intent, method=wish.method))
        return [*news, *tries[wish.outcome](tried, wish, now)]

    def _refuse_nonsense(self, session: Session, wish: Try) -> None:
        delayed = METHODS[wish.method]
        if wish.outcome == "processing" and not delayed:
            raise Refusal(Why.NONSENSE, "outcome: a card is never processing; name a delayed method")
        if delayed and wish.outcome in {"succeeded", "requires_action"}:
            raise Refusal(Why.NONSENSE, f"outcome: {wish.method} is processing first; transition it afterwards")
        if delayed and session.request.capture_method == "manual":
            raise Refusal(Why.NONSENSE, f"method: {wish.method} cannot hold an amount")

    def _begun(self, session: Session, now: datetime) -> tuple[Intent, list[News]]:
        known = self._intent_of(session)
        if known is not None:
            return known, []
        request = session.request
        intent = Intent(
            self.books.new_id("pi_"),
            session.id,
            now,
            request.total,
            request.currency,
            request.capture_method,
            request.intent_metadata,
            request.intent_description,
        )
        self.books.put(attrs.evolve(session, intent_id=intent.id))
        return self.books.put(intent), [("payment_intent.created", intent)]

    def _succeed(self, intent: Intent, now: datetime) -> list[News]:
        manual = intent.capture_method == "manual"
        charge = self._new_charge(intent, "succeeded", now, amount_captured=0 if manual else intent.amount)
        held_or_paid = attrs.evolve(
            intent,
            status="requires_capture" if manual else "succeeded",
            amount_received=charge.amount_captured,
            charge_ids=(*intent.charge_ids, charge.id),
            last_error=None,
        )
        self.books.put(held_or_paid)
        if manual:
            self.books.remind(charge.hold_ends_at, intent.id)
        word = "payment_intent.amount_capturable_updated" if manual else "payment_intent.succeeded"
        session = self._complete(intent, "unpaid" if manual else "paid")
        return [("charge.succeeded", charge), (word, held_or_paid), ("checkout.session.completed", session)]

    def _decline(self, intent: Intent, wish: Try, now: datetime) -> list[News]:
        why = Decline("card_declined", DECLINED, wish.decline_code)
        charge = self._new_charge(intent, "failed", now, failure=why)
        return [("charge.failed", charge), self._failed(intent, why, charge)]

    def _ask_buyer(self, intent: Intent) -> list[News]:
        return [("payment_intent.requires_action", self.books.put(attrs.evolve(intent, status="requires_action")))]

    def _wait_for_bank(self, intent: Intent, now: datetime) -> list[News]:
        charge = self._new_charge(intent, "pending", now)
        waiting = self.books.put(
            attrs.evolve(intent, status="processing", charge_ids=(*intent.charge_ids, charge.id), last_error=None)
        )
        session = self._complete(intent, "unpaid")
        return [
            ("charge.pending", charge),
            ("payment_intent.processing", waiting),
            ("checkout.session.completed", session),
        ]

    def _failed(self, intent: Intent, why: Decline, charge: Charge | None = None) -> News:
        tries = (
            intent.charge_ids if charge is None or charge.id in intent.charge_ids else (*intent.charge_ids, charge.id)
        )
        back = attrs.evolve(intent, status="requires_payment_method", charge_ids=tries, last_error=why)
        return "payment_intent.payment_failed", self.books.put(back)

    def _new_charge(
        self, intent: Intent, status: str, now: datetime, *, amount_captured: int = 0, failure: Decline | None = None
    ) -> Charge:
        return self.books.put(
            Charge(
                self.books.new_id("ch_"),
                intent.id,
                now,
                intent.amount,
                intent.currency,
                intent.method,
                status,
                intent.metadata,
                captured=amount_captured > 0,
                amount_captured=amount_captured,
                failure=failure,
            )
        )

    def _complete(self, intent: Intent, payment_status: str) -> Session:
        session = self.books.get(Session, intent.session_id)
        return self.books.put(attrs.evolve(session, status="complete", payment_status=payment_status))

    def _settle_session(self, intent: Intent) -> Session:
        session = self.books.get(Session, intent.session_id)
        return self.books.put(attrs.evolve(session, payment_status="paid"))

    # --- the bank ----------------------------------------------------------------------------------------------------

    def succeed(self, intent_id: str, now: datetime) -> list[News]:
        """The buyer finished 3-D Secure, or the money of a delayed method arrived."""
        intent = self._in("succeed", intent_id, "processing", "requires_action")
        if intent.status == "requires_action":
            return self._succeed(intent, now)
        charge = attrs.evolve(self._charge_of(intent), status="succeeded", captured=True, amount_captured=intent.amount)
        paid = self.books.put(attrs.evolve(intent, status="succeeded", amount_received=intent.amount))
        return [
            ("charge.succeeded", self.books.put(charge)),
            ("payment_intent.succeeded", paid),
            ("checkout.session.async_payment_succeeded", self._settle_session(paid)),
        ]

    def fail(self, intent_id: str) -> list[News]:
        """The buyer failed 3-D Secure, or the bank returned a delayed payment."""
        intent = self._in("fail", intent_id, "processing", "requires_action")
        if intent.status == "requires_action":
            return [self._failed(intent, _NOT_AUTHENTICATED)]
        charge = self.books.put(attrs.evolve(self._charge_of(intent), status="failed", failure=_BOUNCED))
        session = self.books.get(Session, intent.session_id)
        return [
            ("charge.failed", charge),
            self._failed(intent, _BOUNCED, charge),
            ("checkout.session.async_payment_failed", session),
        ]

    def lapse(self, intent_id: str, now: datetime) -> list[News]:
        """The bank released a hold that nobody took."""
        return self._cancelled(self._in("cancel", intent_id, "requires_capture"), "automatic", now)

    def move_refund(self, refund_id: str, to: str) -> list[News]:
        """A refund arrived, or failed, also after it had succeeded: then the money is with the merchant again."""
        refund = self.books.find(Refund, refund_id)
        if refund is None:
            raise Refusal(Why.UNKNOWN_TRANSACTION, f"no refund {refund_id!r}")
        if refund.status == to:
            raise Refusal(Why.NONSENSE, f"the refund is {to} already")
        return self._refund_moved(refund, to, "expired_or_canceled_card" if to == "failed" else None)

    def _refund_moved(self, refund: Refund, to: str, why: str | None) -> list[News]:
        moved = self.books.put(attrs.evolve(refund, status=to, failure_reason=why))
        self._count_refunds(self.books.get(Charge, refund.charge_id))
        news: list[News] = [("refund.updated", moved)]
        return [*news, ("refund.failed", moved)] if to == "failed" else news

    def _count_refunds(self, charge: Charge) -> Charge:
        total = sum(one.amount for one in self.books.owned(Refund, charge.id) if one.counts)
        return self.books.put(attrs.evolve(charge, amount_refunded=total))

    def dispute(self, intent_id: str, amount: int | None, now: datetime, *, inquiry: bool = False) -> list[News]:
        """The buyer's bank asks about the charge, or wants the money back."""
        intent = self._in("dispute", intent_id, "succeeded")
        charge = self._charge_of(intent)
        if charge.disputed:
            raise Refusal(Why.NONSENSE, "the charge is disputed already")
        disputed = Dispute(
            self.books.new_id("du_"),
            charge.id,
            intent.id,
            now,
            charge.amount_captured if amount is None else amount,
            charge.currency,
            "general" if inquiry else "fraudulent",
            "warning_needs_response" if inquiry else "needs_response",
        )
        self.books.put(attrs.evolve(charge, disputed=not inquiry))
        return [("charge.dispute.created", self.books.put(disputed))]

    def move_funds(self, dispute_id: str, *, withdrawn: bool) -> list[News]:
        """The disputed money leaves the merchant's balance, or comes back."""
        dispute = self._dispute(dispute_id)
        if dispute.withdrawn == withdrawn:
            raise Refusal(Why.NONSENSE, f"the money is {'withdrawn' if withdrawn else 'with the merchant'} already")
        word = "funds_withdrawn" if withdrawn else "funds_reinstated"
        return [(f"charge.dispute.{word}", self.books.put(attrs.evolve(dispute, withdrawn=withdrawn)))]

    def close_dispute(self, dispute_id: str, *, won: bool) -> list[News]:
        """The dispute ends; the money moves where it belongs."""
        dispute = self._dispute(dispute_id)
        inquiry = dispute.status.startswith("warning")
        end = "warning_closed" if inquiry else "won" if won else "lost"
        closed = self.books.put(attrs.evolve(dispute, status=end))
        news: list[News] = [("charge.dispute.closed", closed)]
        if closed.withdrawn == (end == "lost"):
            return news
        return [*news, *self.move_funds(dispute_id, withdrawn=end == "lost")]

    # --- time --------------------------------------------------------------------------------------------------------

    def advance(self, now: datetime) -> list[News]:
        """Do what the clock does by itself up to now: open pages expire, holds lapse."""
        news: list[News] = []
        for any_id in self.books.due(now):
            session, intent = self.books.find(Session, any_id), self.books.find(Intent, any_id)
            if session is not None and session.status == "open":
                news += self._expire(session, now)
            if intent is not None and intent.status == "requires_capture":
                news += self._cancelled(intent, "automatic", now)
        return news

    # --- look-ups ----------------------------------------------------------------------------------------------------

    def session_known_as(self, name: str) -> Session:
        """Return the session with this id, or the newest one with this reference of the merchant."""
        found = self.books.find(Session, name)
        named = self.books.owned(Session, name) if name else []
        if found is None and not named:
            raise Refusal(Why.PAGE_UNKNOWN, f"no session {name[:100]!r}, and none with that client_reference_id")
        return found or named[-1]

    def intent_known_as(self, name: str) -> Intent:
        """Return the intent with this id, or the one of the session known as this."""
        found = self.books.find(Intent, name)
        if found is None:
            found = self._intent_of(self.session_known_as(name))
        if found is None:
            raise Refusal(Why.UNKNOWN_TRANSACTION, f"nobody has tried to pay on {name[:100]!r} yet")
        return found

    def _intent_of(self, session: Session) -> Intent | None:
        return None if session.intent_id is None else self.books.find(Intent, session.intent_id)

    def _charge_of(self, intent: Intent) -> Charge:
        return self.books.get(Charge, intent.latest_charge or "")

    def _dispute(self, dispute_id: str) -> Dispute:
        dispute = self.books.find(Dispute, dispute_id)
        if dispute is None:
            raise Refusal(Why.UNKNOWN_TRANSACTION, f"no dispute {dispute_id!r}")
        return dispute

    def _only(self, intent_id: str, verb: str, *statuses: str) -> Intent:
        """Return the intent if its status allows what the API was asked."""
        intent = self.books.get(Intent, intent_id)
        if intent.status not in statuses:
            raise ApiRefusal.state(
                f"This PaymentIntent could not be {verb} because it has a status of {intent.status}. "
                f"Only a PaymentIntent with one of the following statuses may be {verb}: {', '.join(statuses)}.",
                "payment_intent_unexpected_state",
            )
        return intent

    def _in(self, word: str, intent_id: str, *statuses: str) -> Intent:
        """Return the intent if the bank can do this to it now."""
        intent = self.intent_known_as(intent_id)
        if intent.status not in statuses:
            raise Refusal(Why.NONSENSE, f"to: {word} needs one of {', '.join(statuses)}; it is {intent.status}")
        return intent
