"""A gateway is back: whatever of it is unknown comes due at once, instead of at the end of a pause."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payments_core.limits import RECOVERED_MAX
from payments_core.operations import WISHES
from payments_core.payment import UNDER_WAY, AttemptState
from payments_core_sqlalchemy.store import SqlStore
from payments_core_sqlalchemy.tables import attempts, charges, refunds

__all__ = ["SqlRecovery"]


class SqlRecovery:
    """Moves due times forward to now; what it moves is still only asked about, so it may be done twice."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def wake(self, provider: str, now: datetime) -> int:
        """So many unknown outcomes of this gateway are due now: openings, closings, refunds, captures, reviews.

        Errors: StorageError.
        """
        theirs = select(attempts.c.payment_id).where(attempts.c.provider == provider)
        states = [AttemptState.OPENING.value, AttemptState.CLOSING.value]
        pages = (attempts.c.provider == provider) & attempts.c.state.in_(states)
        backs = refunds.c.state.in_(sorted(s.value for s in UNDER_WAY)) & refunds.c.payment_id.in_(theirs)
        wishes = charges.c.due.in_(sorted(d.value for d in WISHES)) & charges.c.payment_id.in_(theirs)
        async with self._store.transaction() as uow:
            woken = 0
            for table, which in ((attempts, pages), (charges, wishes), (refunds, backs)):
                woken += await _wake(uow.connection, table, which, now)
            await uow.commit()
        return woken


async def _wake(connection: AsyncConnection, table: Table, which: ColumnElement[bool], now: datetime) -> int:
    """Rows that somebody works on are skipped: they are looked at this moment."""
    key: list[Any] = [*table.primary_key.columns]
    later = (table.c.check_at > now) & which
    rows = select(*key).where(later).order_by(table.c.check_at).limit(RECOVERED_MAX).with_for_update(skip_locked=True)
    woken = await connection.execute(update(table).where(tuple_(*key).in_(rows)).values(check_at=now))
    return woken.rowcount
