"""What the buyer tries on a page, and how it ends so far."""

from collections.abc import Callable
from datetime import datetime

import attrs

from payments_core_simulator.refusals import Refusal, Why

from .limits import CHARGES_PER_INTENT_MAX
from .moves import Moves
from .values import (
    Charge,
    Decline,
    Intent,
    News,
    Session,
    Try,
)

# Methods that answer at once, and those whose money comes days later.
METHODS = {"card": False, "us_bank_account": True, "sepa_debit": True}
DECLINED = "Your card was declined."


class Buyer(Moves):
    """Tries. Every one is on the same intent of the page."""

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
