"""Over HTTP, awaited, or waited for: the same day at the gateway ends in the same ledger (design, section 5)."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from harness.product import running_product
from harness.three_ways import Awaited, Blocking, Embedded, Ending, OverHttp, a_day, told_by
from payments_core import BlockingPayments
from payments_core_simulator.process import running_simulator
from payments_core_sqlalchemy.migrate import migrate_async

pytestmark = pytest.mark.processes

Day = tuple[dict[str, Ending], tuple[int, int]]


async def over_http(database_url: str, folder: Path) -> Day:
    with running_product(database_url, folder) as product:
        return await a_day(OverHttp(product), database_url)


async def awaited(database_url: str) -> Day:
    await migrate_async(database_url)
    loop = asyncio.get_running_loop()
    with running_simulator() as simulator:
        parts = Embedded.over(database_url, simulator)
        service = parts.service

        def take(provider: str, body: bytes, headers: Mapping[str, str]) -> object:
            return asyncio.run_coroutine_threadsafe(service.receive(provider, body, headers), loop).result(30)

        try:
            await parts.put_stock(10_000)
            with told_by(simulator, take):
                return await a_day(Awaited(parts), database_url)
        finally:
            await service.close()


async def blocking(database_url: str) -> Day:
    await migrate_async(database_url)
    with running_simulator() as simulator:
        parts = Embedded.over(database_url, simulator)
        payments = BlockingPayments(parts.service)
        try:
            await asyncio.to_thread(lambda: payments.run(parts.put_stock(10_000)))
            with told_by(simulator, payments.receive):
                return await a_day(Blocking(parts, payments), database_url)
        finally:
            await asyncio.to_thread(payments.close)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_three_ways_end_in_the_same_ledger(kind: str, new_database: Callable[[str], str], tmp_path: Path) -> None:
    """Who embeds the core gets what the served application promises, and nothing else."""
    first = await over_http(new_database(kind), tmp_path)
    assert await awaited(new_database(kind)) == first
    assert await blocking(new_database(kind)) == first
    endings, stock = first
    assert {name: (ending.status, ending.order, ending.page) for name, ending in endings.items()} == {
        "paid": ("success", "paid", "open"),
        "declined": ("success", "paid", "open"),
        "returned": ("partially_refunded", "partially_refunded", "open"),
        "expired": ("expired", "cancelled", "dead"),
    }
    assert {name: ending.messages for name, ending in endings.items()} == {
        "paid": (1, 2),
        "declined": (2, 2),
        "returned": (3, 3),
        "expired": (0, 0),
    }
    assert stock == (10_000 - 3 * 2, 0)
