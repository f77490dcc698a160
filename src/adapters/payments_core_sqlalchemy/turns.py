"""Whose turn it is to ask a gateway for a reader: one statement, and none while this process knows better."""

from datetime import datetime, timedelta

from payments_core.use_cases.refresh import LocalTurns
from payments_core_sqlalchemy.repositories import insert_into
from payments_core_sqlalchemy.store import SqlStore
from payments_core_sqlalchemy.tables import refreshes as table

__all__ = ["SqlTurns"]


class SqlTurns:
    """The `Turns` port over a small table, behind those of the process."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._here = LocalTurns()

    async def take(self, payment_id: str, *, now: datetime, every: timedelta) -> bool:
        """Whether nobody in any process took the turn of this payment within `every`.

        Errors: StorageUnavailable.
        """
        if not await self._here.take(payment_id, now=now, every=every):
            return False
        async with self._store.transaction() as uow:
            insert = insert_into(uow.connection, table).values(payment_id=payment_id, asked_at=now)
            taken = insert.on_conflict_do_update(
                index_elements=["payment_id"],
                set_={"asked_at": insert.excluded.asked_at},
                where=table.c.asked_at <= now - every,
            )
            ours = (await uow.connection.execute(taken.returning(table.c.payment_id))).first() is not None
            await uow.commit()
        return ours
