"""Payments with an open page, put straight into the database, and the notifications that settle them."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import attrs

from payments_core import Currency, Customer, Item, Money, Order, Shipping
from payments_core.identity import make_payment_id, provider_order_id
from payments_core.payment import Attempt, AttemptState, Payment
from payments_core.ports import Change
from payments_core_app.settings import Settings
from payments_core_app.tokens import make_token
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.migrate import migrate_async
from payments_core_sqlalchemy.rows import order_to_row
from payments_core_sqlalchemy.tables import orders, reservations, stock

KEY = "SB-Mid-server-bench"
_IDR = Currency.of("IDR")
_AMOUNT = Money.parse("110000", _IDR)
_BUYER = Customer("budi", "Budi", "budi@example.test")
_VARIANTS, _STOCK, _BATCH = 200, 1_000_000, 1_000


@attrs.frozen
class Open:
    """An order whose page is open."""

    order_id: str
    provider_order_id: str


def environment(database: str) -> dict[str, str]:
    """The settings of a server on this database."""
    return {
        "PAYMENTS_MODE": "development",
        "PAYMENTS_DATABASE_URL": url(database),
        "PAYMENTS_JWT_SECRET": "bench-secret-that-is-long-enough-for-hs256",
        "PAYMENTS_HISTORY_KEY": "bench-key-that-is-long-enough-for-a-chain",
        "MIDTRANS_SERVER_KEY": KEY,
        "MIDTRANS_SNAP_URL": "http://127.0.0.1:9/snap/v1",
        "MIDTRANS_API_URL": "http://127.0.0.1:9",
        "MIDTRANS_CONFIRM": "signature",
    }


def url(database: str) -> str:
    """The URL as SQLAlchemy wants it."""
    return database.replace("postgresql://", "postgresql+asyncpg://")


def token(database: str) -> str:
    """The buyer's token."""
    return make_token(Settings.read(environment(database)), _BUYER.id, ttl=timedelta(hours=12))


def notification(order_id: str, **changes: str) -> bytes:
    """A signed settlement as Midtrans words it."""
    said: Mapping[str, str] = {
        "transaction_time": "2030-01-01 00:00:00",
        "transaction_status": "settlement",
        "transaction_id": f"tx-{order_id}",
        "status_message": "midtrans payment notification",
        "status_code": "200",
        "payment_type": "bank_transfer",
        "order_id": order_id,
        "merchant_id": "M000000",
        "gross_amount": "110000.00",
        "fraud_status": "accept",
        "currency": "IDR",
        **changes,
    }
    signed = f"{order_id}{said['status_code']}{said['gross_amount']}{KEY}"
    return json.dumps({**said, "signature_key": hashlib.sha512(signed.encode()).hexdigest()}).encode()


async def payments(database: str, count: int) -> list[Open]:
    """So many orders of 110000 with an open page each, in a migrated database."""
    await migrate_async(url(database))
    store = SqlStore(url(database), history_keys=("bench-key-that-is-long-enough-for-a-chain",))
    now = datetime.now(UTC)
    made = [(_order(number, now), _payment(number, now)) for number in range(count)]
    async with store.engine.begin() as connection:
        await connection.execute(stock.insert(), [{"sku": f"V{n}", "available": _STOCK} for n in range(_VARIANTS)])
        for start in range(0, count, _BATCH):
            batch = [order for order, _ in made[start : start + _BATCH]]
            await connection.execute(orders.insert(), [order_to_row(order) for order in batch])
            await connection.execute(
                reservations.insert(),
                [{"order_id": o.order_id, "sku": o.items[0].sku, "quantity": 2, "state": "reserved"} for o in batch],
            )
    for start in range(0, count, _BATCH):
        async with store.transaction() as uow:
            await uow.payments.save([Change(None, p, [], "bench", now) for _, p in made[start : start + _BATCH]])
            await uow.commit()
    await store.close()
    return [Open(order.order_id, payment.attempts[0].provider_order_id) for order, payment in made]


def _order(number: int, now: datetime) -> Order:
    return Order(
        order_id=f"ORD-{number:08d}",
        customer=_BUYER,
        currency=_IDR,
        items=(Item(f"V{number % _VARIANTS}", "Shirt", Money.parse("50000", _IDR), 2, variant="M"),),
        discount=Money(0, _IDR),
        shipping=Shipping(Money.parse("10000", _IDR), "Budi", "Jl. Melati 5", "Bandung", "40111"),
        payment_id=_payment_id(number),
        reserved_at=now,
        expires_at=now + timedelta(hours=24),
    )


def _payment_id(number: int) -> str:
    return make_payment_id(1_767_225_600_000 + number, number)


def _payment(number: int, now: datetime) -> Payment:
    payment_id, ends_at = _payment_id(number), now + timedelta(hours=24)
    page = Attempt(
        number=1,
        provider="midtrans",
        provider_order_id=provider_order_id(payment_id, 1),
        state=AttemptState.OPEN,
        amount=_AMOUNT,
        token="t" * 36,
        url="https://pay.example/t",
        opened_at=now,
        ends_at=ends_at,
        check_at=now + timedelta(hours=1),
    )
    return Payment(
        payment_id=payment_id,
        order_id=f"ORD-{number:08d}",
        amount=_AMOUNT,
        owed=_AMOUNT,
        created_at=now,
        reserved_at=now,
        attempts=(page,),
        deadline_at=ends_at,
    )
