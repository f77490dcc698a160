"""Stripe's objects as its API and its events show them, as far as anybody here reads them."""

from collections.abc import Mapping
from typing import Any

import attrs

from payments_core.states import Signal
from payments_core_stripe.client import Object
from unit.simulation.far_side import Dispute, Page, Snapshot, Transaction, is_strangers

__all__ = ["Session", "show_charge", "show_dispute", "show_intent", "show_refund", "show_session"]

_CURRENCY = "idr"
_WITH_A_CHARGE = ("succeeded", "requires_capture", "processing")


@attrs.define
class Session(Page):
    """A page at Stripe: open, complete once a try went through or is with a bank, or expired."""

    statuses: list[tuple[float, str]] = attrs.field(factory=list)
    intent_id: str | None = None
    params: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def status(self) -> str:
        return self.statuses[-1][1]

    def status_at(self, at: float) -> str:
        """What it was then; its first word when it was not there yet."""
        return next((word for since, word in reversed(self.statuses) if since <= at), self.statuses[0][1])

    @property
    def intent_metadata(self) -> Mapping[str, str]:
        """What we gave it for the intent."""
        named: Mapping[str, str] = self.params["payment_intent_data"]["metadata"]
        return named


def show_session(session: Session, intent: Transaction | None, at: float, *, whole: bool = False) -> Object:
    """The session as it was then; `whole` with its intent inside."""
    status, then = session.status_at(at), intent.as_of(at) if intent else None
    shown: Object | str | None = None
    if intent is not None and then is not None:
        shown = show_intent(session, intent, at, whole=True) if whole else intent.transaction_id
    return {
        "id": session.tokens[0],
        "object": "checkout.session",
        "mode": "payment",
        "status": status,
        "payment_status": "paid" if then is not None and then.word is Signal.SETTLED else "unpaid",
        "url": f"https://checkout.example/{session.tokens[0]}" if status == "open" else None,
        "amount_total": session.minor,
        "currency": _CURRENCY,
        "client_reference_id": session.order_id,
        "metadata": session.params["metadata"],
        "payment_intent": shown,
        "livemode": False,
    }


def show_intent(session: Session, intent: Transaction, at: float, *, whole: bool = False) -> Object:
    """The intent as it was then, or in its first state; `whole` with its newest charge inside."""
    then = intent.as_of(at) or intent.log[0][1]
    charge = show_charge(session, intent, then) if then.status in _WITH_A_CHARGE else None
    return {
        "id": intent.transaction_id,
        "object": "payment_intent",
        "status": then.status,
        "amount": session.minor,
        "amount_received": then.minor if then.status == "succeeded" else 0,
        "currency": _CURRENCY,
        "metadata": session.intent_metadata,
        "last_payment_error": {"code": "card_declined", "decline_code": then.declined} if then.declined else None,
        "latest_charge": charge if whole or charge is None else charge["id"],
        "livemode": False,
    }


def show_charge(session: Session, intent: Transaction, then: Snapshot) -> Object:
    """The try that holds, took, or is bringing the money."""
    taken = then.status == "succeeded"
    return {
        "id": f"ch_{intent.transaction_id}",
        "object": "charge",
        "payment_intent": intent.transaction_id,
        "status": "pending" if then.status == "processing" else "succeeded",
        "captured": taken,
        "amount": session.minor,
        "amount_captured": then.minor if taken else 0,
        "amount_refunded": then.refunded("pending"),
        "disputed": bool(then.disputes),
        "currency": _CURRENCY,
        "payment_method_details": {"type": intent.method},
        "metadata": session.intent_metadata,
    }


def show_refund(intent: Transaction, key: str, minor: int, news: str) -> Object:
    """One refund; ours has our key in its metadata."""
    ours = {} if is_strangers(key) else {"refund_key": key}
    return {
        "id": f"re_{key}" if ours else key,
        "object": "refund",
        "payment_intent": intent.transaction_id,
        "charge": f"ch_{intent.transaction_id}",
        "amount": minor,
        "currency": _CURRENCY,
        "status": {"pending": "pending", "confirmed": "succeeded", "returned": "failed"}[news],
        "metadata": ours,
    }


def show_dispute(intent: Transaction, dispute: Dispute) -> Object:
    """One dispute, with the moves of the merchant's balance while its money is gone."""
    return {
        "id": dispute.dispute_id,
        "object": "dispute",
        "payment_intent": intent.transaction_id,
        "charge": f"ch_{intent.transaction_id}",
        "amount": dispute.minor,
        "currency": _CURRENCY,
        "status": dispute.status,
        "balance_transactions": [{"amount": -dispute.minor}] if dispute.withdrawn else [],
        "metadata": {},
    }
