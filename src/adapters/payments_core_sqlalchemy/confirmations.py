"""The stored notifications of one provider as its record: what a gateway that is nobody else's asks instead."""

from collections.abc import Sequence

from sqlalchemy import select

from payments_core.decide import Verdict
from payments_core_sqlalchemy.store import SqlStore, database_errors
from payments_core_sqlalchemy.tables import notifications as table

__all__ = ["StoredNotifications"]

_MAX = 1_000
"""A payment with more confirmations than this is no payment."""


class StoredNotifications:
    """Reads committed notifications only: what could still be undone was not said yet."""

    def __init__(self, store: SqlStore, provider: str) -> None:
        self._store = store
        self._provider = provider

    async def of(self, payment_id: str) -> Sequence[bytes]:
        """The bodies of this payment's notifications, oldest first, without those of money that had counted before.

        Errors: StorageUnavailable.
        """
        counts = table.c.verdict != Verdict.DUPLICATE.value
        mine = (table.c.provider == self._provider, table.c.shard == payment_id, counts)
        query = select(table.c.body).where(*mine).order_by(table.c.received_at, table.c.digest).limit(_MAX)
        async with database_errors(), self._store.reader.connect() as connection:
            return [bytes(body) for body in (await connection.execute(query)).scalars()]
