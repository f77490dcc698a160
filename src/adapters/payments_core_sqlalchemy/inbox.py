"""Notifications received, once each: the bytes are the identity."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs
from sqlalchemy import bindparam, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from payments_core.decide import Verdict
from payments_core.ports import Kept, Notification, NotificationKey
from payments_core_sqlalchemy.repositories import insert_into
from payments_core_sqlalchemy.rows import Row
from payments_core_sqlalchemy.tables import notifications as table

__all__ = ["SqlInbox"]

_KEY = (table.c.shard, table.c.provider, table.c.account, table.c.digest)
_STATE = (table.c.verdict, table.c.reason, table.c.asked, table.c.tries, table.c.times, table.c.check_at)


class SqlInbox:
    """The `Inbox` port."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def remember(self, notifications: Sequence[Notification]) -> dict[NotificationKey, Kept]:
        """Each notification stored, or found as it was stored before and counted once more; one statement.

        Rows are written in the order of their keys, which is the first step of the global lock order.
        """
        times = Counter(notification.key for notification in notifications)
        unique = {notification.key: notification for notification in reversed(notifications)}
        rows = [_new_row(unique[key], times[key]) for key in sorted(unique, key=_sort_key)]
        insert = insert_into(self._connection, table).values(rows)
        statement = insert.on_conflict_do_update(
            index_elements=[column.name for column in _KEY], set_={"times": table.c.times + insert.excluded.times}
        ).returning(*_KEY, *_STATE)
        answer = {}
        for row in (await self._connection.execute(statement)).mappings():
            key = _key_of(row)
            kept = _kept(row, unique[key])
            answer[key] = attrs.evolve(kept, fresh=kept.times == times[key])
        return answer

    async def update(self, kept: Sequence[Kept]) -> None:
        """Verdict, reason, asked, tries and check_at as they stand in these values."""
        where = [column == bindparam(f"key_{column.name}") for column in _KEY]
        names = ("verdict", "reason", "asked", "tries", "check_at")
        statement = update(table).where(*where).values({name: bindparam(f"new_{name}") for name in names})
        rows = [_update_row(item) for item in sorted(kept, key=lambda item: _sort_key(item.notification.key))]
        if rows:
            await self._connection.execute(statement, rows)

    async def waiting(self, payment_id: str, transaction_id: str) -> list[Kept]:
        """The hints of one transaction that wait for an answer, oldest first, locked in the order of their keys."""
        query = select(table).where(
            table.c.verdict == Verdict.WAITING.value,
            table.c.shard.in_((payment_id, "")),
            table.c.transaction_id == transaction_id,
        )
        return await self._locked(query)

    async def load(self, keys: Collection[NotificationKey]) -> list[Kept]:
        """These notifications, oldest first; unknown keys are left out."""
        return await self._all(select(table).where(tuple_(*_KEY).in_([attrs.astuple(key) for key in keys])))

    async def lock(self, keys: Collection[NotificationKey]) -> list[Kept]:
        """The same, locked in the order of their keys."""
        return await self._locked(select(table).where(tuple_(*_KEY).in_([attrs.astuple(key) for key in keys])))

    async def _locked(self, query: Any) -> list[Kept]:  # noqa: ANN401 - a Select
        return await self._all(query.order_by(*_KEY).with_for_update())

    async def _all(self, query: Any) -> list[Kept]:  # noqa: ANN401 - a Select
        rows = (await self._connection.execute(query)).mappings().all()
        found = [_kept(row, _notification(row)) for row in rows]
        return sorted(found, key=lambda kept: (kept.notification.received_at, _sort_key(kept.notification.key)))


def _sort_key(key: NotificationKey) -> tuple[str, str, str, str]:
    return (key.shard, key.provider, key.account, key.digest)


def _key_of(row: Mapping[Any, Any]) -> NotificationKey:
    return NotificationKey(row["shard"], row["provider"], row["account"], row["digest"])


def _new_row(notification: Notification, times: int) -> Row:
    return {
        **attrs.asdict(notification.key),
        "transaction_id": notification.transaction_id,
        "body": notification.body,
        "received_at": notification.received_at,
        "verdict": Verdict.STALE.value,
        "reason": "",
        "asked": 0,
        "tries": 0,
        "times": times,
        "check_at": None,
    }


def _update_row(kept: Kept) -> Row:
    key = attrs.asdict(kept.notification.key)
    return {
        **{f"key_{name}": value for name, value in key.items()},
        "new_verdict": kept.verdict.value,
        "new_reason": kept.reason,
        "new_asked": kept.asked,
        "new_tries": kept.tries,
        "new_check_at": kept.check_at,
    }


def _notification(row: Mapping[Any, Any]) -> Notification:
    return Notification(
        key=_key_of(row),
        body=bytes(row["body"]),
        received_at=row["received_at"],
        transaction_id=row["transaction_id"],
    )


def _kept(row: Mapping[Any, Any], notification: Notification) -> Kept:
    return Kept(
        notification=notification,
        verdict=Verdict(row["verdict"]),
        reason=row["reason"],
        asked=row["asked"],
        tries=row["tries"],
        times=row["times"],
        check_at=row["check_at"],
    )
