"""The verdict: what the product has stored against what the gateway's ledger says and what people asked for."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chaos.books import Books, Ledger, Stored, Transaction
from chaos.people import OPERATOR, Deed
from chaos.plan import SKUS, STOCK

_UNDER_WAY = frozenset({"requested", "sent", "unknown"})
_UNDECIDED = frozenset({"waiting", "unmatched"})
_PAYABLE = frozenset({"opening", "open", "closing"})
_HELD = frozenset({"authorized", "processing"})
_SEN = 100


def disagreements(stored: Stored, ledger: Ledger) -> list[str]:
    """What has not come together yet: empty once nothing is on its way and both sides say the same."""
    found = [f"{ledger.pending} notifications are on their way"] if ledger.pending else []
    found += [f"notification {digest[:12]} is {verdict}"
              for digest, verdict in stored.verdicts.items() if verdict in _UNDECIDED]  # fmt: skip
    by_payment = ledger.of_payments()
    for books in stored.orders.values():
        found += _money(books, by_payment.get(books.payment_id or "", {}))
        found += [f"{books.order_id}: refund {key} is {refund['state']}"
                  for key, refund in books.refunds.items() if _is_under_way(refund, books)]  # fmt: skip
        found += [f"{books.order_id}: a page is opening"] if "opening" in books.attempts else []
    return found


def behind(stored: Stored, ledger: Ledger) -> list[str]:
    """Transactions that the product has not heard the last of."""
    by_payment = ledger.of_payments()
    return [
        transaction_id
        for books in stored.orders.values()
        for transaction_id, one in by_payment.get(books.payment_id or "", {}).items()
        if books.left(transaction_id) != one.left
    ]


def _is_under_way(refund: Mapping[str, Any], books: Books) -> bool:
    """One that nobody could tell of within its whole schedule stays unknown, and is a case: a person was told."""
    told = ("refund_unknown", refund["transaction_id"]) in books.open_cases
    return refund["state"] in _UNDER_WAY and not (refund["state"] == "unknown" and told)


def _money(books: Books, transactions: Mapping[str, Transaction]) -> Iterator[str]:
    """Left of each transaction, as both sides have it."""
    for transaction_id, one in transactions.items():
        believed = books.left(transaction_id)
        if believed != one.left:
            yield f"{books.order_id}: of {transaction_id} {one.left} sen are left, stored are {believed}"
    for transaction_id in books.charges.keys() - transactions.keys():
        yield f"{books.order_id}: the gateway does not know {transaction_id}"


def unended(stored: Stored, deeds: Mapping[str, Deed]) -> list[str]:
    """Orders that are neither paid nor given up; but for those a person has to decide on."""
    return [
        f"{books.order_id}: {books.payment_status or books.status}, pages {books.attempts}"
        for books in stored.orders.values()
        if _is_unended(books, deeds[books.order_id])
    ]


def _is_unended(books: Books, deed: Deed) -> bool:
    if books.payment_status in _HELD and deed.gave_up:
        return False  # the operator lost patience with it
    reserved = books.reservation is not None and books.reservation[0] == "reserved"
    return (reserved and not books.open_cases) or bool(_PAYABLE.intersection(books.attempts))


def violations(stored: Stored, ledger: Ledger, deeds: Mapping[str, Deed], receipts: Counter[str]) -> list[str]:
    """Everything that must never be, each with its order."""
    lost = receipts.keys() - stored.verdicts.keys()
    found = [f"LOST NOTIFICATION {digest}: answered 2xx, not stored" for digest in sorted(lost)]
    found += [f"NOT TOGETHER {what}" for what in disagreements(stored, ledger)]
    by_payment = ledger.of_payments()
    for order_id, deed in deeds.items():
        books = stored.orders.get(order_id)
        if books is None:
            found += [f"LOST ORDER {order_id}"] if not deed.gave_up else []
            continue
        transactions = by_payment.get(books.payment_id or "", {})
        found += [f"{what} ({deed.story})" for what in _order(books, deed, transactions)]
    return found + list(_stock(stored))


def _order(books: Books, deed: Deed, transactions: Mapping[str, Transaction]) -> Iterator[str]:
    name, paid = books.order_id, books.paid_by is not None
    in_cases = {transaction_id for _, transaction_id in books.open_cases}
    with_money = [key for key, one in transactions.items() if one.left > 0]
    if unseen := [key for key in with_money if key != books.paid_by and key not in in_cases]:
        yield f"DOUBLE CHARGE {name}: {unseen} beside {books.paid_by}, and nobody was told"
    times = books.events["order.paid"] - books.events["payment.reversed"]
    if times != paid:
        yield f"PAID {times} TIMES {name}: {dict(books.events)}"
    if books.events["stock.consumed"] > 1:
        yield f"STOCK LEFT TWICE {name}"
    if paid != (books.status in {"paid", "partially_refunded", "refunded"}):
        yield f"WRONG STATUS {name}: {books.status}, kept charge {books.paid_by}"
    yield from _refunds(books, deed, transactions)


def _refunds(books: Books, deed: Deed, transactions: Mapping[str, Transaction]) -> Iterator[str]:
    """One request gives back once: what the gateway gave is what was asked, key by key, and no more."""
    asked = [refund for refund in books.refunds.values() if refund["by"] == OPERATOR]
    if len(asked) > len(deed.refunds):
        yield f"DOUBLE REFUND {books.order_id}: {len(asked)} refunds, {len(deed.refunds)} were asked for"
    for key, refund_id in deed.granted.items():
        if refund_id not in books.refunds:
            yield f"LOST REFUND {books.order_id}: {refund_id} was granted under {key}"
    for transaction_id, one in transactions.items():
        given = sum(refund["amount_minor"] for refund in books.refunds.values()
                    if refund["transaction_id"] == transaction_id and refund["state"] == "confirmed")  # fmt: skip
        if one.refunded > given:
            yield f"DOUBLE REFUND {books.order_id}: {one.refunded} sen of {transaction_id} went back, not {given}"


def _stock(stored: Stored) -> Iterator[str]:
    """What is on the shelf is what was there, less what reservations hold or have taken; and only the paid take."""
    gone: Counter[str] = Counter()
    for books in stored.orders.values():
        if books.reservation is None:
            continue
        state, sku, quantity = books.reservation
        gone[sku] += quantity if state in {"reserved", "consumed"} else 0
        ever_paid = books.events["order.paid"] > 0
        if (state == "consumed") != ever_paid:
            yield f"STOCK {books.order_id}: {state}, and the order was {'' if ever_paid else 'never '}paid"
    for sku in SKUS:
        if stored.available[sku] != STOCK - gone[sku]:
            yield f"STOCK OF {sku}: {stored.available[sku]} on the shelf, {STOCK - gone[sku]} expected"


def log_findings(logs: Sequence[tuple[str, str]]) -> list[str]:
    """Exceptions nobody expected: each is a bug, also when everything came together in spite of it."""
    return [
        f"UNEXPECTED {name}: {line.strip()[:300]}"
        for name, text in logs
        for line in text.splitlines()
        if any(word in line for word in _BROKE)
    ]


_BROKE = (
    "request.broke", "sweep.failed", "batch.failed", "errand.failed", "could not be attended to",
    "could not be decided", "Task exception was never retrieved", "never awaited",
)  # fmt: skip
