"""What banks do afterwards: delayed money, refunds that arrive or fail, disputes."""

from datetime import datetime

import attrs

from payments_core_simulator.refusals import Refusal, Why

from .buyer import Buyer
from .values import (
    Charge,
    Decline,
    Dispute,
    News,
    Refund,
    Session,
)

_NOT_AUTHENTICATED = Decline(
    "payment_intent_authentication_failure",
    "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new PaymentMethod "
    "to attempt to fulfill this PaymentIntent again.",
)
_BOUNCED = Decline("payment_intent_payment_attempt_failed", "The payment failed.")


class Bank(Buyer):
    """The words of banks, and of somebody in the dashboard."""

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

    def dispute(self, intent_id: str, amount: int | None, now: datetime, *, inquiry: bool = False) -> list[News]:
        """The buyer's bank asks about the charge, or wants the money back."""
        intent = self._in("dispute", intent_id, "succeeded")
        charge = self._charge_of(intent)
        if charge.disputed:
            raise Refusal(Why.NONSENSE, "the charge is disputed already")
        if not 0 < (amount or charge.left) <= charge.left:
            raise Refusal(Why.NONSENSE, f"amount: {charge.left} of the charge is left to dispute")
        disputed = Dispute(
            self.books.new_id("du_"),
            charge.id,
            intent.id,
            now,
            charge.left if amount is None else amount,
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
        if withdrawn and dispute.status.startswith("warning"):
            raise Refusal(Why.NONSENSE, "an inquiry moves no money")
        if withdrawn:
            self._refuse_what_is_gone(dispute)
        word = "funds_withdrawn" if withdrawn else "funds_reinstated"
        return [(f"charge.dispute.{word}", self.books.put(attrs.evolve(dispute, withdrawn=withdrawn)))]

    def close_dispute(self, dispute_id: str, *, won: bool) -> list[News]:
        """The dispute ends; the money moves where it belongs."""
        dispute = self._dispute(dispute_id)
        inquiry = dispute.status.startswith("warning")
        end = "warning_closed" if inquiry else "won" if won else "lost"
        if end == "lost" and not dispute.withdrawn:
            self._refuse_what_is_gone(dispute)
        closed = self.books.put(attrs.evolve(dispute, status=end))
        news: list[News] = [("charge.dispute.closed", closed)]
        if closed.withdrawn == (end == "lost"):
            return news
        return [*news, *self.move_funds(dispute_id, withdrawn=end == "lost")]

    def _refuse_what_is_gone(self, dispute: Dispute) -> None:
        """Refuse to take what was refunded since the dispute was won: nobody takes more than there is."""
        left = self.books.get(Charge, dispute.charge_id).left
        if dispute.amount > left:
            raise Refusal(Why.NONSENSE, f"amount: {left} of the charge is left to withdraw")
