"""The stores keep their contracts: in memory, on SQLite, on PostgreSQL."""

from collections.abc import AsyncIterator, Callable

import pytest

from payments_core.testing.order_registries import OrderRegistryContract
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
