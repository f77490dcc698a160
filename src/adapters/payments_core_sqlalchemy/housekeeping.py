"""What is forgotten: finished idempotency keys, notifications that never found their payment, turns long taken.

All are bounded at a time, so that forgetting never holds up paying.
"""

from datetime import datetime, timedelta

import attrs
from sqlalchemy import Table, delete, select, tuple_

from payments_core.decide import Verdict
from payments_core_sqlalchemy.statements import written_out
from payments_core_sqlalchemy.store import SqlStore
from payments_core_sqlalchemy.tables import idempotency, notifications, refreshes

__all__ = ["Forgotten", "Housekeeping"]

_KEYS_KEPT = timedelta(hours=72)
"""A finished key outlives a weekend without anybody at work (guarantee C7: at least 24 h)."""
_UNMATCHED_KEPT = timedelta(days=90)
"""A genuine notification about nothing of ours: long enough for anybody to wonder about it."""
_TURNS_KEPT = timedelta(hours=1)
"""Far longer than a turn lasts."""
_AT_ONCE = 1000


@attrs.frozen
class Forgotten:
    """Rows that were removed."""

    keys: int
    unmatched: int
    turns: int = 0


class Housekeeping:
    """Removes what nobody will ask for again."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def forget(self, now: datetime) -> Forgotten:
        """So many rows were removed; keys whose request has no answer yet are never among them.

        Errors: StorageUnavailable.
        """
        key, note = idempotency.c, notifications.c
        finished = (key.made_at < now - _KEYS_KEPT) & key.status.is_not(None)
        lost = (note.received_at < now - _UNMATCHED_KEPT) & (note.verdict == written_out(Verdict.UNMATCHED))
        return Forgotten(
            await self._remove(idempotency, finished),
            await self._remove(notifications, lost),
            await self._remove(refreshes, refreshes.c.asked_at < now - _TURNS_KEPT),
        )

    async def _remove(self, table: Table, which: object) -> int:
        primary = [*table.primary_key.columns]
        some = select(*primary).where(which).limit(_AT_ONCE)  # type: ignore[arg-type]
        async with self._store.transaction() as uow:
            gone = await uow.connection.execute(delete(table).where(tuple_(*primary).in_(some)))
            await uow.commit()
        return gone.rowcount
