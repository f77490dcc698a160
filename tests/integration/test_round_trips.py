"""How often a path asks PostgreSQL: what the table in `docs/reference/speed.md` says, and what nobody sees grow."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import asyncpg
import pytest

from harness.sql_shop import SqlShop
from payments_core import Confirm, GatewayTraits, Signal
from payments_core_memory import MemoryGateway
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.migrate import migrate_async

pytestmark = pytest.mark.postgres
Result = TypeVar("Result")


@pytest.fixture
async def shop(new_database: Callable[[str], str]) -> AsyncIterator[SqlShop]:
    url = new_database("postgres")
    await migrate_async(url)
    store = SqlStore(url)
    yield SqlShop(store, MemoryGateway(traits=GatewayTraits(confirm=Confirm.SIGNATURE)))
    await store.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that went to the driver."""
    statements: list[str] = []

    def listen(name: str) -> None:
        method = getattr(asyncpg.Connection, name)

        def heard(connection: Any, query: str, *values: Any, **options: Any) -> Any:
            statements.append(query)
            return method(connection, query, *values, **options)

        monkeypatch.setattr(asyncpg.Connection, name, heard)

    for name in ("fetch", "fetchrow", "execute", "executemany"):
        listen(name)
    return statements


async def trips(asked: list[str], work: Awaitable[Result]) -> tuple[int, Result]:
    asked.clear()
    result = await work
    return len(asked), result


@pytest.mark.parametrize("count", [1, 6])
async def test_a_batch_of_notifications_is_six_round_trips_of_any_size(
    shop: SqlShop, asked: list[str], count: int
) -> None:
    """BEGIN, remember, lock, what was tried, everything that is written, COMMIT."""
    batch = []
    for number in range(count):
        _, token = await shop.opened(f"o-{number}")
        batch.append(shop.understood(shop.gateway.buyer_tries(token, Signal.SETTLED, method="card")))
    counted, _ = await trips(asked, shop.service.receive.accept(batch))
    assert counted == 6, "\n".join(asked)


async def test_an_answer_of_the_gateway_is_six_round_trips(shop: SqlShop, asked: list[str]) -> None:
    shop.gateway.traits = GatewayTraits()
    _, token = await shop.opened()
    await shop.service.receive.accept([shop.understood(shop.gateway.buyer_tries(token, Signal.SETTLED, method="card"))])
    counted, _ = await trips(asked, shop.errands.do(shop.service.perform))
    assert counted == 6, "\n".join(asked)


async def test_a_first_click_is_ten_round_trips_and_a_status_read_one(shop: SqlShop, asked: list[str]) -> None:
    """Five before the gateway is called, five after; what comes before the first COMMIT places the order."""
    await trips(asked, shop.opened())
    click = asked[asked.index("COMMIT") + 1 :]
    assert [position for position, query in enumerate(click, 1) if query == "COMMIT"] == [5, 10], "\n".join(click)
    counted, _ = await trips(asked, shop.store.find("o-1"))
    assert counted == 1


async def test_clicks_that_come_together_share_their_commits(shop: SqlShop, asked: list[str]) -> None:
    """The first goes alone; what arrives while it commits goes together, before the gateway's answer and after."""
    names = [f"o-{number}" for number in range(8)]
    for name in names:
        await shop.place(name)
    await trips(asked, asyncio.gather(*(shop.click(name) for name in names)))
    assert asked.count("COMMIT") <= 6, asked.count("COMMIT")
