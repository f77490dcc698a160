"""Stripe's events -> Observation, as one table. Pure; the words of Stripe end here.

A charge of ours is Stripe's PaymentIntent: it names the money in every event, where sessions, charges, refunds and
disputes each name some of it. A session without an intent stands for itself.
A failed try is not an ending: the intent goes back and the buyer may try again on the same page, so it says nothing of
the charge and carries only the reason of the decline.
Source: stripe.md section 4.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from payments_core.errors import AmountNotRepresentable, MalformedNotification
from payments_core.money import Money
from payments_core.observations import (
    Dispute,
    DisputeNews,
    Meaning,
    Nothing,
    Observation,
    RefundNews,
    RefundReport,
    Unknown,
)
from payments_core.states import Signal
from payments_core_stripe.amounts import from_stripe

__all__ = ["PROVIDER", "observe"]

PROVIDER = "stripe"

Object = Mapping[str, Any]

INTENTS: dict[str, Signal] = {
    "requires_payment_method": Signal.PENDING,
    "requires_confirmation": Signal.PENDING,
    "requires_action": Signal.PENDING,
    "processing": Signal.PENDING,
    "requires_capture": Signal.AUTHORIZED,
    "succeeded": Signal.SETTLED,
    "canceled": Signal.CANCELLED,
}
"""PaymentIntent.status -> what it says of the charge."""
REFUNDS: dict[str, RefundNews] = {
    "pending": RefundNews.PENDING,
    "requires_action": RefundNews.PENDING,
    "succeeded": RefundNews.CONFIRMED,
    "failed": RefundNews.RETURNED,
    "canceled": RefundNews.REFUSED,
}
DISPUTES: dict[str, DisputeNews] = {
    "warning_needs_response": DisputeNews.INQUIRY,
    "warning_under_review": DisputeNews.INQUIRY,
    "warning_closed": DisputeNews.INQUIRY,
    "needs_response": DisputeNews.OPENED,
    "under_review": DisputeNews.OPENED,
    "appeal_needs_response": DisputeNews.OPENED,
    "appeal_under_review": DisputeNews.OPENED,
    "won": DisputeNews.WON,
    "prevented": DisputeNews.WON,
    "lost": DisputeNews.LOST,
}
_MOVES_MONEY = {
    "charge.dispute.funds_withdrawn": DisputeNews.WITHDRAWN,
    "charge.dispute.funds_reinstated": DisputeNews.REINSTATED,
}
"""Here the event's type decides; the status inside may be older."""
_ENDED_SESSIONS = {
    "checkout.session.expired": Signal.EXPIRED,
    "checkout.session.async_payment_failed": Signal.FAILED,
}


def observe(event: Object, *, account: str = "default") -> Observation:
    """What this event says; an event about nothing of ours says `Nothing`, an unknown word is `Unknown`.

    Errors: MalformedNotification when it has no type, no object, or an amount that is none.
    """
    kind, data = event.get("type"), event.get("data")
    about = data.get("object") if isinstance(data, Mapping) else None
    if not isinstance(kind, str) or not isinstance(about, Mapping):
        raise MalformedNotification("an event has a type and an object")
    try:
        return _reader(kind)(kind, about, _common(event, about, account))
    except (AmountNotRepresentable, TypeError) as error:
        raise MalformedNotification(f"{kind}: {error}") from error


def _reader(kind: str) -> Callable[[str, Object, dict[str, Any]], Observation]:
    if kind.startswith("checkout.session."):
        return _session
    if kind.startswith("payment_intent."):
        return _intent
    if kind.startswith("charge.dispute."):
        return _dispute
    if kind.startswith("refund.") or kind == "charge.refund.updated":
        return _refund
    if kind.startswith("charge."):
        return _charge
    return _other


def _common(event: Object, about: Object, account: str) -> dict[str, Any]:
    metadata = about.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    live = event.get("livemode")
    return {
        "provider": PROVIDER,
        "account": account,
        "provider_order_id": about.get("client_reference_id") or metadata.get("provider_order_id"),
        "transaction_id": about.get("payment_intent") or about.get("charge") or about.get("id") or "",
        "shop_order_id": metadata.get("order_id"),
        "merchant_id": event.get("account"),
        "live": live if isinstance(live, bool) else None,
        "occurred_at": _time(event.get("created")),
    }


def _session(kind: str, session: Object, common: dict[str, Any]) -> Observation:
    if session.get("mode") != "payment":
        return Observation(**common, meaning=Nothing(f"{kind} in mode {session.get('mode')}"))
    return Observation(
        **common,
        meaning=_session_meaning(kind, session),
        page_id=session.get("id"),
        amount=_money(session, "amount_total"),
        ends_page=kind in _ENDED_SESSIONS,
    )


def _session_meaning(kind: str, session: Object) -> Meaning:
    if kind in _ENDED_SESSIONS:
        return _ENDED_SESSIONS[kind]
    match session.get("payment_status"):
        case "paid" | "no_payment_required":
            return Signal.SETTLED
        case "unpaid":  # delayed, or only authorized: the session alone cannot tell
            return Signal.PENDING
        case word:
            return Unknown(str(word))


def _intent(kind: str, intent: Object, common: dict[str, Any]) -> Observation:
    common["transaction_id"] = intent.get("id") or ""
    if kind == "payment_intent.payment_failed":
        error = intent.get("last_payment_error")
        return Observation(**common, meaning=Nothing(kind), decline_code=_decline_code(error))
    status = str(intent.get("status"))
    meaning = INTENTS.get(status) or Unknown(status)
    amount = "amount_received" if meaning is Signal.SETTLED else "amount"
    return Observation(**common, meaning=meaning, amount=_money(intent, amount))


def _charge(kind: str, charge: Object, common: dict[str, Any]) -> Observation:
    """Charges repeat the intent's news, with one of their own: the total that was refunded."""
    if charge.get("status") == "failed":
        return Observation(**common, meaning=Nothing(kind), decline_code=charge.get("failure_code") or "failed")
    if charge.get("status") != "succeeded":
        return Observation(**common, meaning=Nothing(kind))
    captured = charge.get("captured") is True
    return Observation(
        **common,
        meaning=Signal.SETTLED if captured else Signal.AUTHORIZED,
        amount=_money(charge, "amount_captured" if captured and charge.get("amount_captured") else "amount"),
        refunded=_money(charge, "amount_refunded"),
        refunded_all=charge.get("refunded") is True,
    )


def _refund(kind: str, refund: Object, common: dict[str, Any]) -> Observation:
    status, metadata = str(refund.get("status")), refund.get("metadata")
    key = metadata.get("refund_key") if isinstance(metadata, Mapping) else None
    news = REFUNDS.get(status)
    if news is None:
        return Observation(**common, meaning=Unknown(status))
    report = RefundReport(str(key or refund.get("id")), _money(refund, "amount"), news)
    return Observation(**common, meaning=Nothing(kind), refunds=(report,))


def _dispute(kind: str, dispute: Object, common: dict[str, Any]) -> Observation:
    status = str(dispute.get("status"))
    news = _MOVES_MONEY.get(kind) or DISPUTES.get(status)
    if news is None:
        return Observation(**common, meaning=Unknown(status))
    return Observation(**common, meaning=Nothing(kind), dispute=Dispute(news, _money(dispute, "amount")))


def _other(kind: str, _about: Object, common: dict[str, Any]) -> Observation:
    return Observation(**common, meaning=Nothing(kind))


def _decline_code(error: object) -> str:
    known = error if isinstance(error, Mapping) else {}
    return str(known.get("decline_code") or known.get("code") or "declined")


def _money(fields: Object, name: str) -> Money | None:
    amount, currency = fields.get(name), fields.get("currency")
    if amount is None or not isinstance(currency, str):
        return None
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise TypeError(f"{name} is not an integer")
    return from_stripe(amount, currency)


def _time(seconds: object) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) and 0 < seconds < 1 << 40 else None
