"""Notifications received, once each: the bytes are the identity."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs
from sqlalchemy import Boolean, literal_column, or_, select, tuple_

from payments_core.decide import Verdict
from payments_core.ports import Kept, Notification, NotificationKey
from payments_core_sqlalchemy.rows import Row
from payments_core_sqlalchemy.session import Session
from payments_core_sqlalchemy.statements import (
    Statement,
    any_key_of,
    any_of,
    insert,
    keys_document,
    update_by,
    written_out,
)
from payments_core_sqlalchemy.tables import notifications as table

__all__ = ["SqlInbox"]

_KEY = (table.c.shard, table.c.provider, table.c.account, table.c.digest)
_KEY_NAMES = tuple(column.name for column in _KEY)
_NEW = insert(
    table,
    conflict=f"ON CONFLICT ({', '.join(_KEY_NAMES)}) DO UPDATE SET times = notifications.times + excluded.times",
)
_LOCK = Statement(select(table).where(any_key_of(_KEY, "keys")).order_by(*_KEY).with_for_update(of=table))
_WAITING = Statement(
    select(table)
    .where(
        table.c.verdict == written_out(Verdict.WAITING),
        any_of(table.c.shard, "ids"),
        or_(literal_column("shard <> ''", Boolean), any_of(table.c.transaction_id, "transactions")),
    )
    .order_by(*_KEY)
    .with_for_update()
)
_BY_KEY = {name: name for name in _KEY_NAMES}
_JUDGED = ["verdict", "reason", "asked", "tries", "times", "check_at"]
_UPDATE, _SAY_ANEW = update_by(table, _BY_KEY, _JUDGED), update_by(table, _BY_KEY, [*_JUDGED, "transaction_id", "body"])


class SqlInbox:
    """The `Inbox` port."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._connection = session.connection

    async def put(self, kept: Sequence[Kept]) -> None:
        """The fresh ones stored, the others as they stand now; rows are written in the order of their keys."""
        rows = sorted(kept, key=lambda item: _sort_key(item.notification.key))
        known = [item for item in rows if not item.fresh]
        self._session.write_later(_NEW, [_new_row(item) for item in rows if item.fresh])
        self._session.write_later(_UPDATE, [_update_row(item) for item in known if item.notification.says is None])
        self._session.write_later(_SAY_ANEW, [_new_row(item) for item in known if item.notification.says is not None])

    async def waiting(self, payment_ids: Collection[str], transaction_ids: Collection[str]) -> list[Kept]:
        """The hints that wait for an answer, oldest first, locked in the order of their keys."""
        rows = await self._session.rows(_WAITING, ids=sorted({"", *payment_ids}), transactions=sorted(transaction_ids))
        return _oldest_first(_kept(row, _notification(row)) for row in rows)

    async def load(self, keys: Collection[NotificationKey]) -> list[Kept]:
        """These notifications, oldest first; unknown keys are left out."""
        return await self._all(select(table).where(tuple_(*_KEY).in_([attrs.astuple(key) for key in keys])))

    async def lock(self, keys: Collection[NotificationKey]) -> list[Kept]:
        """The same, locked in the order of their keys."""
        rows = await self._session.rows(_LOCK, keys=keys_document(map(_sort_key, keys))) if keys else []
        return _oldest_first(_kept(row, _notification(row)) for row in rows)

    async def _all(self, query: Any) -> list[Kept]:  # noqa: ANN401 - a Select
        rows = (await self._session.execute(query)).mappings().all()
        return _oldest_first(_kept(row, _notification(row)) for row in rows)


def _oldest_first(found: Iterable[Kept]) -> list[Kept]:
    return sorted(found, key=lambda kept: (kept.notification.received_at, _sort_key(kept.notification.key)))


def _sort_key(key: NotificationKey) -> tuple[str, str, str, str]:
    return (key.shard, key.provider, key.account, key.digest)


def _key_of(row: Mapping[Any, Any]) -> NotificationKey:
    return NotificationKey(row["shard"], row["provider"], row["account"], row["digest"])


def _new_row(kept: Kept) -> Row:
    notification = kept.notification
    return {
        **_update_row(kept),
        "transaction_id": notification.transaction_id,
        "body": notification.body,
        "received_at": notification.received_at,
    }


def _update_row(kept: Kept) -> Row:
    key = kept.notification.key
    return {
        "shard": key.shard,
        "provider": key.provider,
        "account": key.account,
        "digest": key.digest,
        "verdict": kept.verdict.value,
        "reason": kept.reason,
        "asked": kept.asked,
        "tries": kept.tries,
        "times": kept.times,
        "check_at": kept.check_at,
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
