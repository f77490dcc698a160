"""The `Outbox` port: facts that wait for their subscribers, claimed in order for each payment."""

from datetime import datetime

from sqlalchemy import ColumnElement, delete, exists, select, tuple_, update

from payments_core.facts import Event, FactType
from payments_core.ports import Delivery
from payments_core_sqlalchemy.store import SqlStore
from payments_core_sqlalchemy.tables import events
from payments_core_sqlalchemy.tables import outbox as table

__all__ = ["SqlOutbox"]

_KEY = (table.c.payment_id, table.c.sequence, table.c.subscriber)


class SqlOutbox:
    """A row is there until its fact was taken, so a fact is free when no row before it is left.

    A dead letter keeps its row without a time, and the later facts of its payment behind it: order is promised.
    """

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def claim(self, *, now: datetime, until: datetime, limit: int) -> list[Delivery]:
        """Facts that are due and free, leased until `until`; rows that another claim holds are skipped."""
        earlier = table.alias("earlier")
        before = exists().where(
            earlier.c.payment_id == table.c.payment_id,
            earlier.c.subscriber == table.c.subscriber,
            earlier.c.sequence < table.c.sequence,
        )
        due = (
            select(*_KEY)
            .where(table.c.try_at <= now, ~before)
            .order_by(table.c.try_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        claim = update(table).where(tuple_(*_KEY).in_(due)).values(try_at=until)
        async with self._store.transaction() as uow:
            rows = (await uow.connection.execute(claim.returning(*_KEY, table.c.tries))).all()
            told = {}
            if rows:
                wanted = tuple_(events.c.payment_id, events.c.sequence).in_([(r.payment_id, r.sequence) for r in rows])
                for e in await uow.connection.execute(select(events).where(wanted)):
                    told[e.payment_id, e.sequence] = Event(
                        e.payment_id, e.sequence, FactType(e.type), e.at, e.actor, e.data
                    )
            await uow.commit()
        return [
            Delivery(subscriber=r.subscriber, event=told[r.payment_id, r.sequence], tries=r.tries)
            for r in sorted(rows, key=lambda r: (r.payment_id, r.sequence, r.subscriber))
        ]

    async def delivered(self, delivery: Delivery) -> None:
        """Its row is gone, so the next fact of its payment is free."""
        async with self._store.transaction() as uow:
            await uow.connection.execute(delete(table).where(_is(delivery)))
            await uow.commit()

    async def failed(self, delivery: Delivery, *, try_at: datetime | None) -> None:
        """It is due again at `try_at`, or a dead letter when that is None."""
        async with self._store.transaction() as uow:
            again = update(table).where(_is(delivery)).values(try_at=try_at, tries=table.c.tries + 1)
            await uow.connection.execute(again)
            await uow.commit()

    async def revive(self, subscriber: str, *, now: datetime) -> int:
        """The dead letters of this subscriber are due again, their tries counted anew; how many there were."""
        dead = (table.c.subscriber == subscriber) & table.c.try_at.is_(None)
        async with self._store.transaction() as uow:
            revived = await uow.connection.execute(update(table).where(dead).values(try_at=now, tries=0))
            await uow.commit()
        return revived.rowcount


def _is(delivery: Delivery) -> ColumnElement[bool]:
    event = delivery.event
    return (
        (table.c.payment_id == event.payment_id)
        & (table.c.sequence == event.sequence)
        & (table.c.subscriber == delivery.subscriber)
    )
