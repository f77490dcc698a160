"""Stripe's events -> Observation, as one table. Pure; the words of Stripe end here.

A charge of ours is Stripe's PaymentIntent: it names the money in every event, where sessions, charges, refunds and
disputes each name some of it. A session without an intent has no charge: nobody has tried to pay on it.
A failed try is not an ending: the intent goes back and the buyer may try again on the same page, so the charge is
pending still and has the reason of the decline.
What was refunded is told per refund, each with its state; the total of a charge holds those that may still fail.
Source: stripe.md section 4. What retrieved objects mean is `reading.py`.
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

__all__ = [
    "INTENTS",
    "PROVIDER",
    "Object",
    "decline_code",
    "dispute_of",
    "identifier",
    "method_of",
    "money",
    "observe",
    "order_named",
    "refund_report",
    "time",
]

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
_EXPIRED, _BOUNCED = "checkout.session.expired", "checkout.session.async_payment_failed"
_ENDED_SESSIONS = {_EXPIRED: Signal.EXPIRED, _BOUNCED: Signal.FAILED}
_TEXT_MAX, _WORD_MAX = 128, 32
"""Characters of an id, and of a method's name; Stripe's have up to 70 and 20."""


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
        "provider_order_id": order_named(about),
        "transaction_id": identifier(about.get("payment_intent")) or identifier(about.get("charge")) or "",
        "shop_order_id": _text(metadata.get("order_id")),
        "live": live if isinstance(live, bool) else None,
        "occurred_at": time(event.get("created")),
    }


def _session(kind: str, session: Object, common: dict[str, Any]) -> Observation:
    if session.get("mode") != "payment":
        return Observation(**common, meaning=Nothing(f"{kind} in mode {session.get('mode')}"))
    meaning = _session_meaning(kind, session)
    if not common["transaction_id"]:
        if meaning is not Signal.SETTLED:
            return Observation(**common, meaning=Nothing(kind), page_id=identifier(session), ends_page=kind == _EXPIRED)
        common["transaction_id"] = identifier(session) or ""  # paid without an intent: nothing was to be collected
    return Observation(
        **common,
        meaning=meaning,
        page_id=identifier(session),
        amount=money(session, "amount_total"),
        ends_page=kind == _EXPIRED,
        uses_up_page=kind == _BOUNCED,
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
    common["transaction_id"] = identifier(intent) or ""
    status = str(intent.get("status"))
    meaning = INTENTS.get(status) or Unknown(status)
    amount = "amount_received" if meaning is Signal.SETTLED else "amount"
    declined = decline_code(intent) if kind == "payment_intent.payment_failed" else None
    return Observation(
        **common,
        meaning=meaning,
        amount=money(intent, amount),
        method=_only_method(intent),
        decline_code=declined,
    )


def _charge(kind: str, charge: Object, common: dict[str, Any]) -> Observation:
    """Charges repeat the intent's news, with one of their own: the total that was refunded."""
    common["transaction_id"] = common["transaction_id"] or identifier(charge) or ""
    if charge.get("status") == "failed":
        outcome = charge.get("outcome")
        reason = outcome.get("reason") if isinstance(outcome, Mapping) else None
        code = _text(reason) or _text(charge.get("failure_code")) or "declined"
        return Observation(**common, meaning=Nothing(kind), decline_code=code)
    if charge.get("status") != "succeeded":
        return Observation(**common, meaning=Nothing(kind))
    captured = charge.get("captured") is True
    refunded = money(charge, "amount_refunded")
    return Observation(
        **common,
        meaning=Signal.SETTLED if captured else Signal.AUTHORIZED,
        amount=money(charge, "amount_captured" if captured and charge.get("amount_captured") else "amount"),
        method=method_of(charge),
        refunded=refunded,
        refunded_unknown=refunded is not None and refunded.amount_minor > 0,
    )


def _refund(kind: str, refund: Object, common: dict[str, Any]) -> Observation:
    report = refund_report(refund)
    if report is None:
        return Observation(**common, meaning=Unknown(str(refund.get("status"))))
    return Observation(**common, meaning=Nothing(kind), refunds=(report,))


def _dispute(kind: str, dispute: Object, common: dict[str, Any]) -> Observation:
    known = dispute_of(dispute)
    if kind in _MOVES_MONEY:
        known = Dispute(_MOVES_MONEY[kind], money(dispute, "amount"), identifier(dispute))
    if known is None:
        return Observation(**common, meaning=Unknown(str(dispute.get("status"))))
    return Observation(**common, meaning=Nothing(kind), dispute=known)


def _other(kind: str, _about: Object, common: dict[str, Any]) -> Observation:
    """Kept, and matched with nothing: what else it names is none of our charges."""
    return Observation(**{**common, "transaction_id": ""}, meaning=Nothing(kind))


# ── parts of objects ──────────────────────────────────────────────────────────────────────────────────────────────────
def refund_report(refund: Object) -> RefundReport | None:
    """One refund, under our key where we made it; None when its status is a word we do not know."""
    metadata, news = refund.get("metadata"), REFUNDS.get(str(refund.get("status")))
    key = _text(metadata.get("refund_key")) if isinstance(metadata, Mapping) else None
    known_as = key or identifier(refund)
    if news is None or known_as is None:
        return None
    return RefundReport(known_as, money(refund, "amount"), news)


def dispute_of(dispute: Object) -> Dispute | None:
    """One dispute; None when its status is a word we do not know."""
    news = DISPUTES.get(str(dispute.get("status")))
    return Dispute(news, money(dispute, "amount"), identifier(dispute)) if news is not None else None


def decline_code(intent: Object) -> str | None:
    """Why the last try on this intent was declined; None when none was."""
    error = intent.get("last_payment_error")
    if not isinstance(error, Mapping):
        return None
    return _text(error.get("decline_code")) or _text(error.get("code")) or "declined"


def method_of(charge: object) -> str | None:
    """The kind of method a Stripe charge was made with."""
    details = charge.get("payment_method_details") if isinstance(charge, Mapping) else None
    return _text(details.get("type"), _WORD_MAX) if isinstance(details, Mapping) else None


def _only_method(intent: Object) -> str | None:
    """The method, when the intent takes one only."""
    kinds = intent.get("payment_method_types")
    return _text(kinds[0], _WORD_MAX) if isinstance(kinds, list) and len(kinds) == 1 else None


def order_named(about: Object) -> str | None:
    """Our order id, where this object has it: a session by its reference, what it made by the metadata we gave."""
    metadata = about.get("metadata")
    named = metadata.get("provider_order_id") if isinstance(metadata, Mapping) else None
    return _text(about.get("client_reference_id")) or _text(named)


def identifier(about: object) -> str | None:
    """The id of an object, which may stand there whole."""
    return _text(about.get("id") if isinstance(about, Mapping) else about)


def _text(value: object, length_max: int = _TEXT_MAX) -> str | None:
    """A word that can be stored; an odd one is as good as none."""
    sound = isinstance(value, str) and 0 < len(value) <= length_max and value.isprintable()
    return value if isinstance(value, str) and sound else None


def money(fields: Object, name: str) -> Money | None:
    """The amount of this field, None when the object does not say it."""
    amount, currency = fields.get(name), fields.get("currency")
    if amount is None or not isinstance(currency, str):
        return None
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise TypeError(f"{name} is not an integer")
    return from_stripe(amount, currency)


def time(seconds: object) -> datetime | None:
    """A moment in UTC, None when it is none."""
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) and 0 < seconds < 1 << 40 else None
