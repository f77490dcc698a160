"""The stores keep their contracts: in memory, on SQLite, on PostgreSQL."""

import contextlib
from collections.abc import AsyncIterator, Callable

import attrs
import pytest

from payments_core import Order
from payments_core.errors import StorageError, StorageUnavailable
from payments_core.ports import ShopStore
from payments_core.testing.order_registries import OrderRegistryContract
from payments_core.testing.samples import order
from payments_core.testing.stores import StoreContract
from payments_core_memory import MemoryStore
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.migrate import migrate_async


class TestMemory(StoreContract, OrderRegistryContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


class TestSqlite(StoreContract, OrderRegistryContract):
    @pytest.fixture
    async def store(self, new_database: Callable[[str], str]) -> AsyncIterator[SqlStore]:
        async with opened(new_database("sqlite")) as store:
            yield store


@pytest.mark.postgres
class TestPostgres(StoreContract, OrderRegistryContract):
    @pytest.fixture
    async def store(self, new_database: Callable[[str], str]) -> AsyncIterator[SqlStore]:
        async with opened(new_database("postgres")) as store:
            yield store


class opened:  # noqa: N801 - read as a verb
    """A migrated store that is closed at the end."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> SqlStore:
        await migrate_async(self._url)
        self._store = SqlStore(self._url)
        return self._store

    async def __aexit__(self, *_: object) -> None:
        await self._store.close()


# ── what is over ──────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def store(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> AsyncIterator[ShopStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with opened(new_database(request.param)) as made:
        yield made


def sale(name: str) -> Order:
    """An order that takes nothing from stock."""
    made = order(name)
    return attrs.evolve(made, items=tuple(attrs.evolve(item, track_stock=False) for item in made.items))


async def names(store: ShopStore) -> set[str]:
    async with store.reading() as uow:
        return {name for name in ("mine", "stray", "read") if await uow.orders.get(name)}


async def test_a_unit_of_work_that_is_over_writes_nothing_for_somebody_else(store: ShopStore) -> None:
    """The connection is theirs by now: what was written on it would be committed, or undone, with their work."""
    async with store.transaction() as over:
        await over.commit()
    with contextlib.suppress(KeyError):
        async with store.transaction() as uow:
            await uow.orders.place(sale("mine"))
            with contextlib.suppress(RuntimeError):
                await over.orders.place(sale("stray"))
            with pytest.raises(RuntimeError, match="over"):
                await over.commit()
            raise KeyError("undone")
    assert await names(store) == set()


async def test_what_is_written_after_the_commit_is_not_stored(store: ShopStore) -> None:
    async with store.transaction() as uow:
        await uow.orders.place(sale("mine"))
        await uow.commit()
        with contextlib.suppress(RuntimeError):
            await uow.orders.place(sale("stray"))
    assert await names(store) == {"mine"}


async def test_a_unit_of_work_that_reads_stores_nothing(store: ShopStore) -> None:
    async def write() -> None:
        async with store.reading() as uow:
            await uow.orders.place(sale("read"))
            await uow.commit()

    with pytest.raises((RuntimeError, StorageError)):
        await write()
    assert await names(store) == set()


@pytest.mark.postgres
async def test_a_connection_that_is_cut_in_a_transaction_is_a_database_that_is_away(
    new_database: Callable[[str], str],
) -> None:
    """And is not used again: a server that stood still for longer than a statement may take cannot even be told to
    cancel it, so the driver cuts the connection."""

    async def cut() -> None:
        async with store.transaction() as uow:
            driver = (await uow.connection.get_raw_connection()).driver_connection
            assert driver is not None
            driver.terminate()
            await uow.orders.get("o-1")

    async with opened(new_database("postgres")) as store:
        with pytest.raises(StorageUnavailable):
            await cut()
        async with store.transaction() as uow:
            await uow.orders.place(sale("mine"))
            await uow.commit()
        assert await names(store) == {"mine"}
