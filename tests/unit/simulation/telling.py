"""How a gateway with Midtrans' manners tells what was given back: by key, by its own number, or as a total alone.

Any of the fields may be missing, and from one answer to the next others are. What is done is written in Midtrans' own
fields, and its real adapter reads them: which refund has a name, and which is part of a total only, is decided there.
"""

from enum import Enum
from typing import Any

from payments_core.money import Money
from payments_core.observations import Observation, RefundNews, RefundReport
from payments_core_midtrans.observe import observe
from unit.simulation.far_side import Snapshot, is_strangers

__all__ = ["Telling", "given_back", "refunds_in"]

_CURRENCY = "IDR"


class Telling(Enum):
    """What is said of refunds."""

    KEYS = "by key"
    """The total, each refund under its key, and what became of one that waited for a bank."""
    OURS = "ours by key"
    """What was given back in the dashboard has a number and no key, and there is no total."""
    NUMBERS = "by number"
    """No refund has its key, and there is no total."""
    TOTAL = "as a total"
    """No refund is listed."""
    IN_TURNS = "in turns"
    """Each answer in the next of these ways."""


_TURNS = (Telling.KEYS, Telling.TOTAL, Telling.OURS, Telling.NUMBERS)


def given_back(snapshot: Snapshot, telling: Telling, turn: int) -> dict[str, Any]:
    """The fields of one answer about what was given back; those of a refund that waits are the worlds' own."""
    if not snapshot.refunds:
        return {}
    how = _TURNS[turn % len(_TURNS)] if telling is Telling.IN_TURNS else telling
    done = [(n, key, minor) for n, (key, minor, news) in enumerate(snapshot.refunds, 1) if news == "confirmed"]
    total = {"refund_amount": _written(sum(minor for _, _, minor in done))} if done else {}
    if how is Telling.TOTAL:
        return total
    entries = [_entry(number, key, minor, how) for number, key, minor in done]
    if how is not Telling.KEYS:
        return {"refunds": entries} if entries else {}
    waiting = [refund for refund in snapshot.refunds if refund[2] != "confirmed"]
    return {**total, "refunds": entries, "waiting": waiting}


def _entry(number: int, key: str, minor: int, how: Telling) -> dict[str, Any]:
    entry = {"refund_chargeback_id": number, "refund_amount": _written(minor)}
    is_named = how is Telling.KEYS or (how is Telling.OURS and not is_strangers(key))
    return {**entry, "refund_key": key} if is_named else entry


def _written(minor: int) -> str:
    return Money.of(minor, _CURRENCY).major()


def refunds_in(fields: dict[str, Any]) -> tuple[Money, tuple[RefundReport, ...]]:
    """The total, and the refunds by name, that the adapter of Midtrans finds in these fields."""
    nothing = Money.of(0, _CURRENCY)
    waiting = tuple(RefundReport(k, Money.of(m, _CURRENCY), RefundNews(news)) for k, m, news in fields["waiting"])
    if "refunds" not in fields and "refund_amount" not in fields:
        return nothing, waiting
    seen = _as_midtrans(fields)
    return seen.refunded or nothing, (*seen.refunds, *waiting)


def _as_midtrans(fields: dict[str, Any]) -> Observation:
    names = ("order_id", "transaction_id", "refund_amount", "refunds")
    said = {name: fields[name] for name in names if name in fields}
    return observe({**said, "transaction_status": "partial_refund", "gross_amount": _written(fields["amount_minor"])})
