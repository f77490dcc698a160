"""Events are put into the outbox in the transaction that makes them, one row a subscriber."""

import pytest
from sqlalchemy import select

from payments_core.ports import Change
from payments_core.testing.samples import event, payment
from payments_core_sqlalchemy import SqlStore, tables
from payments_core_sqlalchemy.migrate import migrate_async


async def rows(store: SqlStore) -> list[tuple[str, int, bool, int]]:
    outbox = tables.outbox.c
    async with store.engine.connect() as connection:
        found = await connection.execute(
            select(outbox.subscriber, outbox.sequence, outbox.try_at, outbox.tries).order_by(
                outbox.sequence, outbox.subscriber
            )
        )
        return [(subscriber, sequence, try_at is not None, tries) for subscriber, sequence, try_at, tries in found]


@pytest.fixture
async def url(database_url: str) -> str:
    await migrate_async(database_url)
    return database_url


async def test_every_event_waits_for_every_subscriber(url: str) -> None:
    store = SqlStore(url, subscribers=("crm", "warehouse"))
    made = payment()
    try:
        async with store.transaction() as uow:
            await uow.payments.save([Change(None, made, [event(made, 1), event(made, 2)])])
            await uow.commit()
        waiting = [("crm", 1, True, 0), ("warehouse", 1, True, 0), ("crm", 2, True, 0), ("warehouse", 2, True, 0)]
        assert await rows(store) == waiting
    finally:
        await store.close()


@pytest.mark.parametrize("commits", [True, False])
async def test_an_event_and_its_delivery_are_stored_together_or_not_at_all(url: str, commits: bool) -> None:
    """A crash between the two is impossible, because there is no between (D1)."""
    store = SqlStore(url, subscribers=("crm",))
    made = payment()
    try:
        async with store.transaction() as uow:
            await uow.payments.save([Change(None, made, [event(made, 1)])])
            if commits:
                await uow.commit()
        async with store.reading() as uow:
            history = await uow.payments.history(made.payment_id, after=0, limit=10)
        assert (len(history), len(await rows(store))) == ((1, 1) if commits else (0, 0))
    finally:
        await store.close()


async def test_without_subscribers_nothing_waits(url: str) -> None:
    store = SqlStore(url)
    made = payment()
    try:
        async with store.transaction() as uow:
            await uow.payments.save([Change(None, made, [event(made, 1)])])
            await uow.commit()
        assert await rows(store) == []
    finally:
        await store.close()
