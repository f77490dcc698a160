"""One of each stored value, the same in every run; a keyword changes a field.

**Units**: Indonesian rupiah in minor units, so 5_000_000 is Rp 50,000; times in UTC.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from payments_core.decide import Verdict
from payments_core.facts import Event, FactType
from payments_core.identity import make_payment_id, provider_order_id
from payments_core.money import Currency, Money
from payments_core.orders import Customer, Item, Order
from payments_core.payment import Attempt, AttemptState, Payment
from payments_core.ports import Kept, Notification, NotificationKey

__all__ = ["IDR", "LATER", "NOW", "arrived", "event", "notification", "order", "payment"]

IDR = Currency.of("IDR")
NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)

_FIRST_MS = 1_767_225_600_000
"""2026-01-01 in milliseconds: payment ids are ordered by time, and these by their number."""


def order(order_id: str = "o-1", *, units: int = 2, sku: str = "book", **changes: Any) -> Order:  # noqa: ANN401 - fields
    """A pending order of so many units of one book at Rp 50,000."""
    made = Order(
        order_id=order_id,
        customer=Customer("alice", "Alice", "alice@example.com"),
        currency=IDR,
        items=(Item(sku, "A book", Money(5_000_000, IDR), units),),
        discount=Money(0, IDR),
        reserved_at=NOW,
        expires_at=NOW + timedelta(hours=24),
    )
    return attrs.evolve(made, **changes)


def payment(number: int = 1, **changes: Any) -> Payment:  # noqa: ANN401 - fields
    """A payment of Rp 100,000 with one open page; a higher number is a later payment of another order."""
    payment_id = make_payment_id(_FIRST_MS + number, number)
    page = Attempt(
        number=1,
        provider="midtrans",
        provider_order_id=provider_order_id(payment_id, 1),
        state=AttemptState.OPEN,
        amount=Money(10_000_000, IDR),
        opened_at=NOW,
        ends_at=NOW + timedelta(hours=24),
    )
    made = Payment(
        payment_id=payment_id,
        order_id=f"o-{number}",
        amount=Money(10_000_000, IDR),
        owed=Money(10_000_000, IDR),
        created_at=NOW,
        reserved_at=NOW,
        attempts=(page,),
    )
    return attrs.evolve(made, **changes)


def notification(number: int = 1, shard: str = "", transaction_id: str = "tx") -> Notification:
    """A notification with bytes of its own for each number; `shard` is the payment id it names."""
    key = NotificationKey(shard, "midtrans", "default", f"{number:064d}")
    return Notification(key=key, body=b'{"n": %d}' % number, received_at=NOW, transaction_id=transaction_id)


def arrived(notification: Notification, verdict: Verdict = Verdict.STALE, **more: Any) -> Kept:  # noqa: ANN401 - fields
    """The notification with this verdict, not stored yet."""
    return Kept(notification=notification, verdict=verdict, fresh=True, **more)


def event(made: Payment, sequence: int) -> Event:
    """A row of this payment's history."""
    return Event(made.payment_id, sequence, FactType.PAYMENT_PAID, NOW, "gateway:midtrans", {"amount": "100000"})
