"""What is forgotten, and what never is."""

from datetime import timedelta

import pytest

from payments_core.decide import Verdict
from payments_core.testing.samples import NOW, arrived, notification
from payments_core_sqlalchemy import SqlStore
from payments_core_sqlalchemy.housekeeping import Forgotten, Housekeeping
from payments_core_sqlalchemy.idempotency import Answered, Begun, RequestKey, SqlIdempotency
from payments_core_sqlalchemy.migrate import migrate_async

DAY = timedelta(days=1)


@pytest.fixture
async def store(database_url: str) -> SqlStore:
    await migrate_async(database_url)
    return SqlStore(database_url)


async def test_finished_keys_are_kept_over_a_weekend_and_unfinished_ones_for_ever(store: SqlStore) -> None:
    keys, housekeeping = SqlIdempotency(store), Housekeeping(store)
    done, running = (RequestKey("payment", "operator:olivia", "POST /refunds", name) for name in ("done", "running"))
    try:
        for key in (done, running):
            assert await keys.begin(key, "digest", NOW) == Begun()
        await keys.finish(done, 201, b"{}")
        assert (await housekeeping.forget(NOW + 2 * DAY)).keys == 0
        assert await keys.begin(done, "digest", NOW + 2 * DAY) == Answered(201, b"{}")
        assert (await housekeeping.forget(NOW + 4 * DAY)).keys == 1
        assert (await housekeeping.forget(NOW + 400 * DAY)).keys == 0
    finally:
        await store.close()


async def test_a_notification_that_never_found_its_payment_is_forgotten_in_the_end(store: SqlStore) -> None:
    housekeeping = Housekeeping(store)
    try:
        async with store.transaction() as uow:
            kept = [arrived(notification(1), Verdict.UNMATCHED), arrived(notification(2), Verdict.APPLIED)]
            await uow.inbox.put(kept)
            await uow.commit()
        assert await housekeeping.forget(NOW + 89 * DAY) == Forgotten(0, 0)
        assert await housekeeping.forget(NOW + 91 * DAY) == Forgotten(0, 1)
        async with store.reading() as uow:
            left = await uow.inbox.load([item.notification.key for item in kept])
        assert [item.verdict for item in left] == [Verdict.APPLIED]
    finally:
        await store.close()
