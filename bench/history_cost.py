"""What the chained history costs a save: the same saves with and without it, in turns, on one database.

    python bench/history_cost.py [DATABASE_URL]

The database must be a new one; without a URL it is an SQLite file in a temporary folder.
Prints milliseconds a save (a transaction of its own, with its commit) and the bytes of an entry.
"""

import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from statistics import median

import attrs
from sqlalchemy import func, select

from payments_core.identity import make_payment_id, provider_order_id
from payments_core.money import Currency, Money
from payments_core.payment import Attempt, AttemptState, Payment
from payments_core.ports import Change
from payments_core_sqlalchemy import SqlStore, tables
from payments_core_sqlalchemy.history import SqlHistory
from payments_core_sqlalchemy.migrate import migrate_async

_SAVES, _TURNS = 300, 10
_NOW = datetime(2026, 11, 24, tzinfo=UTC)


def _payment(number: int) -> Payment:
    payment_id, amount = make_payment_id(1_767_225_600_000 + number, number), Money(10_000_000, Currency.of("IDR"))
    page = Attempt(
        number=1,
        provider="midtrans",
        provider_order_id=provider_order_id(payment_id, 1),
        state=AttemptState.OPENING,
        amount=amount,
        request="x" * 700,
        opened_at=_NOW,
        ends_at=_NOW + timedelta(days=1),
    )
    return Payment(
        payment_id=payment_id,
        order_id=f"o-{number}",
        amount=amount,
        owed=amount,
        created_at=_NOW,
        reserved_at=_NOW,
        attempts=(page,),
    )


async def _save(store: SqlStore, changes: list[Change]) -> list[Payment]:
    async with store.transaction() as uow:
        stored = await uow.payments.save(changes)
        await uow.commit()
    return [*stored.values()]


def _opened(payment: Payment) -> Payment:
    page = attrs.evolve(payment.attempts[0], state=AttemptState.OPEN, request=None, url="https://pay.example/1")
    return attrs.evolve(payment, attempts=(page,))


async def _turn(store: SqlStore, numbers: Iterator[int], at_once: int) -> float:
    """Milliseconds a save: half of them new payments, half changes."""
    began = time.perf_counter()
    for _ in range(_SAVES // 2 // at_once):
        new = [Change(None, _payment(next(numbers)), [], "bench", _NOW) for _ in range(at_once)]
        await _save(store, [Change(made, _opened(made), [], "bench", _NOW) for made in await _save(store, new)])
    return (time.perf_counter() - began) / _SAVES * 1000


async def _main(url: str) -> None:
    await migrate_async(url)
    store, entries, numbers = SqlStore(url, history_keys=("k" * 32,)), SqlHistory.entries, count(1)

    async def nothing(_history: SqlHistory, _saves: object) -> list[object]:
        """Leave the history out."""
        return []

    took: dict[tuple[int, str], list[float]] = defaultdict(list)
    for _ in range(_TURNS):
        for at_once in (1, 30):
            for name, way in (("with", entries), ("without", nothing)):
                SqlHistory.entries = way  # type: ignore[method-assign]
                took[at_once, name].append(await _turn(store, numbers, at_once))
    async with store.engine.connect() as connection:
        size = await connection.scalar(select(func.avg(func.length(tables.history.c.body))))
    await store.close()
    for (at_once, name), each in took.items():
        told = f"{median(each):.2f} ms a save (lowest {min(each):.2f}, highest {max(each):.2f})"
        print(f"{at_once:>3} payments a transaction, {name} history: {told}")
    print(f"{size:.0f} bytes a body; {_TURNS} turns of {_SAVES} saves each, in turns")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite+aiosqlite:///{folder}/bench.sqlite3"))
