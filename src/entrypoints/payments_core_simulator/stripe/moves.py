"""What several sides of the simulated Stripe do to its books, and how they find what they mean."""

from collections.abc import Callable
from datetime import datetime

import attrs

from payments_core_simulator.refusals import Refusal, Why

from .api_errors import ApiRefusal
from .books import Books, new_id
from .values import (
    Charge,
    Dispute,
    Intent,
    News,
    Refund,
    Session,
)


class Moves:
    """The books, and the moves that more than one side makes."""

    def __init__(self, make_id: Callable[[str], str] = new_id) -> None:
        self.books = Books(make_id)
        # Whether what nobody took of a hold shows as a refund of its charge; the settings say so.
        self.released_as_refund = False

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

    def _expire(self, session: Session, now: datetime) -> list[News]:
        news: list[News] = [("checkout.session.expired", self.books.put(attrs.evolve(session, status="expired")))]
        intent = self._intent_of(session)
        return news if intent is None else [*news, *self._cancelled(intent, "automatic", now)]

    def _cancelled(self, intent: Intent, reason: str | None, now: datetime) -> list[News]:
        held = intent.status == "requires_capture"
        ended = attrs.evolve(intent, status="canceled", canceled_at=now, cancellation_reason=reason)
        released = self._released(self._charge_of(intent)) if held else None
        news: list[News] = [] if released is None else [("charge.refunded", released)]
        return [*news, ("payment_intent.canceled", self.books.put(ended))]

    def _released(self, charge: Charge) -> Charge | None:
        rest = charge.amount - charge.amount_captured
        if not self.released_as_refund or rest == 0:
            return None
        return self.books.put(attrs.evolve(charge, amount_released=rest))

    def _settle_session(self, intent: Intent) -> Session:
        session = self.books.get(Session, intent.session_id)
        return self.books.put(attrs.evolve(session, payment_status="paid"))

    def _refund_moved(self, refund: Refund, to: str, why: str | None) -> list[News]:
        moved = self.books.put(attrs.evolve(refund, status=to, failure_reason=why))
        self._count_refunds(self.books.get(Charge, refund.charge_id))
        news: list[News] = [("refund.updated", moved)]
        return [*news, ("refund.failed", moved)] if to == "failed" else news

    def _count_refunds(self, charge: Charge) -> Charge:
        total = sum(one.amount for one in self.books.owned(Refund, charge.id) if one.counts)
        return self.books.put(attrs.evolve(charge, amount_refunded=total))
