"""The `Survey` port: which payments to compare with their gateways, and how far the comparison has come."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import Subquery, and_, delete, func, or_, select, text, union

from payments_core.decide import Verdict
from payments_core.payment import PAYABLE
from payments_core.ports import NotificationKey
from payments_core.states import LIVE
from payments_core_sqlalchemy.repositories import insert_into
from payments_core_sqlalchemy.store import SqlStore
from payments_core_sqlalchemy.tables import attempts, charge_owners, charges, notifications, reconciliations, refunds

__all__ = ["SqlSurvey", "Survived"]

_NAME = "reconcile"
_WAITING = text(f"verdict = '{Verdict.WAITING.value}'")
"""In the words of its partial index."""
_NAMELESS = notifications.join(
    charge_owners,
    and_(*(notifications.c[part] == charge_owners.c[part] for part in ("provider", "account", "transaction_id"))),
)
"""Messages that name a transaction alone are about the payment it is bound to."""


@attrs.frozen
class Survived:
    """A run that did not come to its end: where it was, and what it had found."""

    since: datetime
    cursor: str | None
    begun_at: datetime
    seen_at: datetime
    tally: Mapping[str, Any]


class SqlSurvey:
    """Payments with a page that ended lately or may still be paid, with anything under way, or a hint that waits."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def count(self, since: datetime) -> int:
        """How many there are."""
        async with self._store.reading() as uow:
            ids = _wanted(since, None, None)
            return int(await uow.connection.scalar(select(func.count()).select_from(ids)) or 0)

    async def ids(self, since: datetime, *, after: str | None, limit: int) -> list[str]:
        """Their ids in order, above `after`."""
        async with self._store.reading() as uow:
            ids = _wanted(since, after, limit)
            page = select(ids.c.payment_id).order_by(ids.c.payment_id).limit(limit)
            return [*await uow.connection.scalars(page)]

    async def waiting(self, payment_id: str) -> list[NotificationKey]:
        """Notifications of this payment that wait for an answer."""
        n, o = notifications.c, charge_owners.c
        key = select(n.shard, n.provider, n.account, n.digest)
        named = key.where(_WAITING, n.shard == payment_id)
        query = union(named, key.select_from(_NAMELESS).where(_WAITING, n.shard == "", o.payment_id == payment_id))
        async with self._store.reading() as uow:
            return [NotificationKey(*row) for row in await uow.connection.execute(query)]

    # ── how far a run has come ────────────────────────────────────────────────────────────────────────────────────
    async def survived(self) -> Survived | None:
        """The run that was killed before its end, None when there is none."""
        r = reconciliations.c
        query = select(r.since, r.cursor, r.begun_at, r.seen_at, r.tally).where(r.name == _NAME)
        async with self._store.reading() as uow:
            row = (await uow.connection.execute(query)).first()
        return Survived(*row) if row else None

    async def keep(self, run: Survived) -> None:
        """The run goes on from here when it is killed."""
        async with self._store.transaction() as uow:
            values = {**attrs.asdict(run), "name": _NAME}
            insert = insert_into(uow.connection, reconciliations).values(values)
            rest = {name: insert.excluded[name] for name in values if name != "name"}
            await uow.connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=rest))
            await uow.commit()

    async def forget(self) -> None:
        """The run came to its end."""
        async with self._store.transaction() as uow:
            await uow.connection.execute(delete(reconciliations).where(reconciliations.c.name == _NAME))
            await uow.commit()


def _wanted(since: datetime, after: str | None, limit: int | None) -> Subquery:
    """Each part walks the primary key from where the page begins, so that all pages together are one walk."""
    a, c, r, n, o = attempts.c, charges.c, refunds.c, notifications.c, charge_owners.c
    payable = a.state.in_(sorted(state.value for state in PAYABLE))
    live = c.state.in_(sorted(state.value for state in LIVE))
    parts = []
    for rows, column, wanted in (
        (attempts, a.payment_id, or_(a.ends_at >= since, payable)),
        (charges, c.payment_id, or_(c.check_at.is_not(None), live)),
        (refunds, r.payment_id, r.check_at.is_not(None)),
        (notifications, n.shard.label("payment_id"), and_(_WAITING, n.shard != "")),
        (_NAMELESS, o.payment_id, and_(_WAITING, n.shard == "")),
    ):
        part = select(column).select_from(rows).distinct().where(wanted).order_by(column).limit(limit)
        parts.append(select((part if after is None else part.where(column > after)).subquery()))
    return union(*parts).subquery()
