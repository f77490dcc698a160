"""Seed the database of the shared benchmark: schema, stock, payable orders, and the fixture its driver reads."""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from payments_core import Currency, Customer, Item, Money, Order, Shipping
from payments_core_app.settings import Settings
from payments_core_app.tokens import make_token
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.migrate import migrate_async
from payments_core_sqlalchemy.rows import order_to_row
from payments_core_sqlalchemy.tables import orders, reservations, stock

IDR = Currency.of("IDR")
VARIANTS, STOCK, BATCH = 200, 1_000_000, 2_000
BUDI = Customer("budi", "Budi", "budi@example.test")


def order(number: int, now: datetime) -> Order:
    """One item 2 x 50000 and shipping 10000: 110000, as the benchmark says."""
    return Order(
        order_id=f"ORD-{number:08d}",
        customer=BUDI,
        currency=IDR,
        items=(Item(f"V{number % VARIANTS}", "Shirt", Money.parse("50000", IDR), 2, variant="M"),),
        discount=Money(0, IDR),
        shipping=Shipping(Money.parse("10000", IDR), "Budi", "Jl. Melati 5", "Bandung", "40111"),
        reserved_at=now,
        expires_at=now + timedelta(hours=24),
    )


def reserved(made: Order) -> dict[str, Any]:
    """What this order takes from stock."""
    ((sku, quantity),) = made.tracked_units().items()
    return {"order_id": made.order_id, "sku": sku, "quantity": quantity, "state": "reserved"}


async def main() -> dict[str, Any]:
    """The fixture of the seeded database."""
    settings = Settings.read(os.environ)
    await migrate_async(settings.database_url)
    store = SqlStore(settings.database_url)
    now = datetime.now(UTC)
    made = [order(number, now) for number in range(1, int(os.environ["BENCH_ORDERS"]) + 1)]
    async with store.engine.begin() as connection:
        await connection.execute(stock.insert(), [{"sku": f"V{n}", "available": STOCK} for n in range(VARIANTS)])
        for start in range(0, len(made), BATCH):
            batch = made[start : start + BATCH]
            await connection.execute(orders.insert(), [order_to_row(o) for o in batch])
            await connection.execute(reservations.insert(), [reserved(o) for o in batch])
    await store.close()
    token = make_token(settings, BUDI.id, ttl=timedelta(hours=12))
    return {
        "headers": {"Authorization": f"Bearer {token}"},
        "order_ids": [o.order_id for o in made],
        "items_per_order": 2,
    }


Path(os.environ["BENCH_FIXTURE"]).write_text(json.dumps(asyncio.run(main())))
