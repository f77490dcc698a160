"""One transaction over payments, notifications and orders."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, select, tuple_, update

from payments_core.chain import ChainKeys
from payments_core.ports import Due, DueKind, NotificationKey
from payments_core_sqlalchemy import tables
from payments_core_sqlalchemy.history import SqlHistory
from payments_core_sqlalchemy.inbox import SqlInbox
from payments_core_sqlalchemy.order_book import SqlOrderBook
from payments_core_sqlalchemy.repositories import SqlPayments
from payments_core_sqlalchemy.session import Session

__all__ = ["SqlUnitOfWork"]


class SqlUnitOfWork:
    """The `UnitOfWork` port over one connection."""

    def __init__(self, session: Session, keys: ChainKeys, *, subscribers: Sequence[str] = ()) -> None:
        self._session = session
        self.connection = session.connection
        self.history = SqlHistory(session, keys)
        held: dict[str, bool] = {}
        self.payments = SqlPayments(session, self.history, held, subscribers)
        self.inbox = SqlInbox(session)
        self.orders = SqlOrderBook(session, held)

    async def commit(self) -> None:
        """Everything done is durable; a connection lost meanwhile leaves it unknown, and repeating it is safe."""
        await self._session.commit()

    async def claim_due(self, kind: DueKind, *, now: datetime, until: datetime, limit: int) -> list[Due]:
        """Rows of one kind that are due, oldest first, nobody else's until `until`."""
        match kind:
            case DueKind.NOTIFICATION:
                n = tables.notifications.c
                rows = await self._claim(n.check_at, [n.shard, n.provider, n.account, n.digest], now, until, limit)
                return [Due(kind, shard, key=NotificationKey(shard, *rest)) for shard, *rest in rows]
            case DueKind.ATTEMPT:
                a = tables.attempts.c
                rows = await self._claim(a.check_at, [a.payment_id, a.number], now, until, limit)
                return [Due(kind, payment_id, str(number)) for payment_id, number in rows]
            case DueKind.CHARGE:
                c = tables.charges.c
                rows = await self._claim(c.check_at, [c.payment_id, c.transaction_id], now, until, limit)
                return [Due(kind, payment_id, transaction_id) for payment_id, transaction_id in rows]
            case DueKind.REFUND:
                r = tables.refunds.c
                rows = await self._claim(r.check_at, [r.payment_id, r.key], now, until, limit)
                return [Due(kind, payment_id, key) for payment_id, key in rows]
            case DueKind.DEADLINE:
                p = tables.payments.c
                rows = await self._claim(p.deadline_at, [p.payment_id], now, until, limit)
                return [Due(kind, payment_id) for (payment_id,) in rows]
            case DueKind.ORDER:
                return [Due(kind, order_id) for order_id in await self.orders.overdue(now, limit)]

    async def _claim(
        self, due_at: Column[Any], key: list[Column[Any]], now: datetime, until: datetime, limit: int
    ) -> list[tuple[str, ...]]:
        """One UPDATE moves the time forward; rows another sweep holds are skipped, not waited for."""
        due = select(*key).where(due_at <= now).order_by(due_at).limit(limit).with_for_update(skip_locked=True)
        where = key[0].in_(due) if len(key) == 1 else tuple_(*key).in_(due)
        claim = update(due_at.table).where(where).values({due_at: until}).returning(*key)
        return [tuple(row) for row in await self._session.execute(claim)]
