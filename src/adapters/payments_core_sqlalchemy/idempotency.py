"""Requests that carried a key: leased while they run, answered the same afterwards.

The unique key decides between two at once; nothing else does. What the request does is safe to run twice by itself, so
a process that dies with a key in hand only delays the re-send until its lease ends.
"""

from datetime import datetime, timedelta
from typing import Any

import attrs
from sqlalchemy import ColumnElement, delete, select, update

from payments_core_sqlalchemy.repositories import insert_into
from payments_core_sqlalchemy.store import SqlStore
from payments_core_sqlalchemy.tables import idempotency as table

__all__ = ["Answered", "Begun", "Found", "OtherRequest", "RequestKey", "SqlIdempotency", "UnderWay"]

_LEASE = timedelta(seconds=60)
"""Longer than any request of ours runs; a re-send after a crash waits for its end at most (guarantee C5: 90 s)."""


@attrs.frozen
class RequestKey:
    """Whose key this is: `about` is the payment or order id, `subject` the caller, `route` the method and template."""

    about: str
    subject: str
    route: str
    key: str


@attrs.frozen
class Begun:
    """The request is the caller's to carry out."""


@attrs.frozen
class UnderWay:
    """The same request runs somewhere, or ran and its end is not known yet."""


@attrs.frozen
class OtherRequest:
    """The key was used for something else."""


@attrs.frozen
class Answered:
    """The same request was answered so."""

    status: int
    body: bytes


Found = Begun | UnderWay | OtherRequest | Answered


class SqlIdempotency:
    """Keys in the payments' database."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def begin(
        self, key: RequestKey, fingerprint: str, now: datetime
    ) -> Begun | UnderWay | OtherRequest | Answered:
        """What to do about a request: carry it out, wait, refuse it, or answer as before.

        Errors: StorageUnavailable.
        """
        row = {**attrs.asdict(key), "fingerprint": fingerprint, "made_at": now, "lease_until": now + _LEASE}
        async with self._store.transaction() as uow:
            insert = insert_into(uow.connection, table).values(row).on_conflict_do_nothing()
            if (await uow.connection.execute(insert)).rowcount == 1:
                await uow.commit()
                return Begun()
            query = select(table).where(_is(key)).with_for_update()
            known = (await uow.connection.execute(query)).mappings().first()
            found = _judge(dict(known) if known else None, fingerprint, now)
            if isinstance(found, Begun):
                taken = update(table).where(_is(key)).values(lease_until=now + _LEASE)
                await uow.connection.execute(taken)
            await uow.commit()
            return found

    async def finish(self, key: RequestKey, status: int, body: bytes) -> None:
        """The request was answered so, and will be again."""
        async with self._store.transaction() as uow:
            done = update(table).where(_is(key)).values(status=status, body=body, lease_until=None)
            await uow.connection.execute(done)
            await uow.commit()

    async def release(self, key: RequestKey) -> None:
        """The key is free: the request came to nothing, and may be sent again, mended or not."""
        async with self._store.transaction() as uow:
            await uow.connection.execute(delete(table).where(_is(key) & table.c.status.is_(None)))
            await uow.commit()


def _is(key: RequestKey) -> ColumnElement[bool]:
    return (
        (table.c.about == key.about)
        & (table.c.subject == key.subject)
        & (table.c.route == key.route)
        & (table.c.key == key.key)
    )


def _judge(known: dict[str, Any] | None, fingerprint: str, now: datetime) -> Found:
    if known is None:  # released in between
        return UnderWay()
    if known["fingerprint"] != fingerprint:
        return OtherRequest()
    if known["status"] is not None:
        return Answered(known["status"], bytes(known["body"] or b""))
    lease = known["lease_until"]
    return UnderWay() if lease is not None and lease > now else Begun()
