"""The machine of `payments_core.testing` over the SQL store: it knows the ports only, so it runs over any store."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from payments_core import GatewayTraits
from payments_core.testing.machine import PaymentMachine
from payments_core.testing.order_registries import RegistryKeeper
from payments_core.testing.world import World
from payments_core_memory import ManualClock, MemoryGateway, SequentialIds
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.migrate import migrate_async


@pytest.fixture
async def empty(tmp_path: Path) -> Path:
    """A migrated database with nothing in it, to be copied: migrating anew for each example would take the time."""
    path = tmp_path / "empty.sqlite3"
    await migrate_async(f"sqlite+aiosqlite:///{path}")
    return path


def test_the_machine_runs_over_the_sql_store(empty: Path) -> None:
    """What the memory twins hide shows here: rows, versions, constraints, leases."""

    class SqliteMachine(PaymentMachine):
        @asynccontextmanager
        async def opened(self, traits: GatewayTraits) -> AsyncIterator[World]:
            with tempfile.TemporaryDirectory(dir=empty.parent) as folder:
                store = SqlStore(f"sqlite+aiosqlite:///{shutil.copy(empty, folder)}")
                yield World(
                    store=store,
                    shop=store,
                    keeper=RegistryKeeper(store),
                    gateway=MemoryGateway(traits=traits),
                    clock=ManualClock(),
                    ids=SequentialIds(),
                    pause=timedelta(minutes=20),
                )
                await store.close()

    few = settings(max_examples=4, stateful_step_count=15, deadline=None, database=None)
    run_state_machine_as_test(SqliteMachine, settings=few)
