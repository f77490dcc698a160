"""Midtrans' fields -> Observation, as one table. Pure; the words of Midtrans end here.

The same function reads notifications and status answers, because only `transaction_status` and `fraud_status` mean the
same in both; `status_code` does not (cancel is 202 in one and 200 in the other) and is used for one thing only: a
`capture` or `authorize` with 201 is under review.
Source: midtrans.md sections 4 and 5.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from payments_core.body import Fields
from payments_core.errors import AmountNotRepresentable, MalformedNotification
from payments_core.money import Currency, Money
from payments_core.observations import Meaning, Observation, RefundNews, RefundReport, Unknown
from payments_core.states import Signal

__all__ = ["MEANINGS", "PROVIDER", "observe"]

PROVIDER = "midtrans"

_ACCEPTED, _REVIEW, _REFUSED, _ANY = "accept", "challenge", "deny", "*"

MEANINGS: dict[tuple[str, str], Signal] = {
    # transaction_status, fraud_status ("accept" also where it is absent: some channels have none)
    ("pending", _ANY): Signal.PENDING,
    ("authorize", _ACCEPTED): Signal.AUTHORIZED,
    ("authorize", _REVIEW): Signal.CHALLENGED,
    ("authorize", _REFUSED): Signal.DENIED,
    ("capture", _ACCEPTED): Signal.CAPTURED,
    ("capture", _REVIEW): Signal.CHALLENGED,
    ("capture", _REFUSED): Signal.DENIED,
    ("settlement", _ACCEPTED): Signal.SETTLED,
    ("deny", _ANY): Signal.DENIED,  # usually with fraud_status accept, which then means nothing
    ("cancel", _ANY): Signal.CANCELLED,
    ("expire", _ANY): Signal.EXPIRED,
    ("failure", _ANY): Signal.FAILED,
    # money given back is an amount; the charge behind it settled
    ("refund", _ANY): Signal.SETTLED,
    ("partial_refund", _ANY): Signal.SETTLED,
    ("chargeback", _ANY): Signal.SETTLED,
    ("partial_chargeback", _ANY): Signal.SETTLED,
}
_DONE_CODE, _UNDER_REVIEW_CODE = "200", "201"
_REFUND_WORDS = frozenset({"refund", "partial_refund"})
_TAKES_MONEY = _REFUND_WORDS | {"authorize", "capture", "settlement"}
_WANTS_DONE = frozenset({Signal.AUTHORIZED, Signal.CAPTURED, Signal.SETTLED})
"""Money held or taken comes under 200, in notifications and in status answers alike."""
_CHARGE_BACK_WORDS = frozenset({"chargeback", "partial_chargeback"})
_DECLINED = frozenset({Signal.DENIED, Signal.FAILED})
_JAKARTA = timezone(timedelta(hours=7))
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)
_TEXT_MAX, _WORD_MAX = 128, 32
"""Characters of an id and of a channel's name; the longest seen have 75 and 16."""
_REFUNDS_MAX = 200
"""Entries of `refunds[]` that are read; a transaction has a handful."""


def observe(fields: Fields, *, account: str = "default") -> Observation:
    """What this notification or status answer says.

    Errors: MalformedNotification when the fields every body has are missing or are not what they should be.
    """
    word = _text(fields, "transaction_status").lower()
    meaning = _meaning(word, fields)
    currency = _currency(fields)
    method = _optional(fields, "payment_type", _WORD_MAX)
    return Observation(
        provider=PROVIDER,
        account=account,
        provider_order_id=_text(fields, "order_id"),
        transaction_id=_text(fields, "transaction_id"),
        meaning=meaning,
        amount=_money(_text(fields, "gross_amount"), currency),
        shop_order_id=_optional(fields, "custom_field1"),
        merchant_id=_optional(fields, "merchant_id"),
        method=method.lower() if method else None,
        decline_code=(_optional(fields, "channel_response_code") or word) if meaning in _DECLINED else None,
        occurred_at=_time(fields, "settlement_time") or _time(fields, "transaction_time"),
        ends_page=word == "cancel" or (word == "expire" and method != "credit_card"),
        **_given_back(word, fields, currency),
    )


def _meaning(word: str, fields: Fields) -> Meaning:
    fraud = (_optional(fields, "fraud_status") or _ACCEPTED).lower()
    signal = MEANINGS.get((word, _ANY)) or MEANINGS.get((word, fraud))
    if signal is None:
        return Unknown(word if fraud == _ACCEPTED else f"{word}/{fraud}")
    code = fields.get("status_code")
    if signal in (Signal.CAPTURED, Signal.AUTHORIZED) and code == _UNDER_REVIEW_CODE:
        return Signal.CHALLENGED
    if word in _TAKES_MONEY and signal in _WANTS_DONE and code is not None and code != _DONE_CODE:
        return Unknown(f"{word}/{code}")  # the code is signed and the word is not: a pending body edited
    return signal


def _given_back(word: str, fields: Fields, currency: Currency) -> dict[str, Any]:
    """The refund and charge-back fields of an Observation; any of Midtrans' own may be missing.

    A refund is known by its key, never by the number of messages: each one is notified twice. The number that Midtrans
    gives it is no such key: the same refund may be listed once with its key, and once with its number alone.
    """
    if word not in _REFUND_WORDS | _CHARGE_BACK_WORDS:
        return {}
    entries = _entries(fields)
    reports, listed = _known_by_key(entries, currency), _listed(entries, currency)
    named = _perhaps_money(_optional(fields, "refund_amount"), currency)
    if word in _CHARGE_BACK_WORDS:
        charged_back = None if entries else named
        return {
            "refunds": reports,
            "refunded": listed,
            "charged_back": charged_back,
            "charged_back_all": word == "chargeback" and charged_back is None,
            "charged_back_unknown": word == "partial_chargeback" and charged_back is None,
        }
    totals = [money for money in (named, listed) if money is not None]
    total = max(totals, key=lambda money: money.amount_minor, default=None)
    amounts_known = total is not None or any(report.amount for report in reports)
    return {
        "refunds": reports,
        "refunded": total,
        "refunded_all": word == "refund",
        "refunded_unknown": word == "partial_refund" and not amounts_known,
    }


def _entries(fields: Fields) -> list[Fields]:
    entries = fields.get("refunds")
    return [e for e in entries[:_REFUNDS_MAX] if isinstance(e, dict)] if isinstance(entries, list) else []


def _known_by_key(entries: Iterable[Fields], currency: Currency) -> tuple[RefundReport, ...]:
    """One listed without its key may be any we know, our own too: it is part of the total and no refund by itself."""
    keys = {str(entry["refund_key"]): entry for entry in entries if entry.get("refund_key")}
    return tuple(
        RefundReport(key, _perhaps_money(entry.get("refund_amount"), currency), RefundNews.CONFIRMED)
        for key, entry in keys.items()
    )


def _listed(entries: Iterable[Fields], currency: Currency) -> Money | None:
    """What the listed refunds add up to, where some have no key to be counted by; None where all have, or no amount."""
    named = {str(e.get("refund_chargeback_id") or e.get("refund_key") or ""): e for e in entries}
    named.pop("", None)
    amounts = [money for e in named.values() if (money := _perhaps_money(e.get("refund_amount"), currency))]
    if not amounts or all(entry.get("refund_key") for entry in named.values()):
        return None
    return Money(sum(money.amount_minor for money in amounts), currency)


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedNotification(f"{name} is missing, or is not text")
    if len(value) > _TEXT_MAX or not value.isprintable():
        raise MalformedNotification(f"{name} is too long, or cannot be stored")
    return value


def _optional(fields: Fields, name: str, length_max: int = _TEXT_MAX) -> str | None:
    """Channels add and leave out fields at will, so an odd one is as good as none."""
    value = fields.get(name)
    sound = isinstance(value, str) and 0 < len(value) <= length_max and value.isprintable()
    return value if sound else None


def _currency(fields: Fields) -> Currency:
    """Older bodies name no currency; Midtrans knows one."""
    try:
        return Currency.of((_optional(fields, "currency") or "IDR").upper())
    except AmountNotRepresentable as error:
        raise MalformedNotification(error.detail) from error


def _money(text: str, currency: Currency) -> Money:
    try:
        return Money.parse(text, currency)
    except AmountNotRepresentable as error:
        raise MalformedNotification(error.detail) from error


def _perhaps_money(amount: object, currency: Currency) -> Money | None:
    """An amount that may be missing; an odd one is as good as none, because the rest of the message still counts."""
    try:
        return _money(str(amount), currency) if amount is not None else None
    except MalformedNotification:
        return None


def _time(fields: Fields, name: str) -> datetime | None:
    """Times come without an offset, in GMT+7."""
    text = fields.get(name)
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=_JAKARTA).astimezone(UTC)
    except (ValueError, OverflowError):  # no such day, or before the calendar begins
        return None
