"""Payments by id, many at a time: locked, loaded, saved by version, with their history."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import attrs
from sqlalchemy import Select, Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from payments_core.errors import StaleWrite
from payments_core.facts import Event, FactType
from payments_core.payment import Payment
from payments_core.ports import Change, PaymentFilter
from payments_core_sqlalchemy import tables
from payments_core_sqlalchemy.history import SqlHistory
from payments_core_sqlalchemy.rows import PaymentRows, Row, changed, event_to_row, from_rows, to_rows

__all__ = ["SqlPayments", "insert_into"]


def insert_into(connection: AsyncConnection, table: Table) -> Any:  # noqa: ANN401 - one of two dialects' Insert
    """The dialect's INSERT, which knows ON CONFLICT."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


class SqlPayments:
    """The `Payments` port."""

    def __init__(self, connection: AsyncConnection, history: SqlHistory, subscribers: Sequence[str]) -> None:
        self._connection = connection
        self._history = history
        self._subscribers = subscribers

    async def lock(self, payment_ids: Collection[str]) -> dict[str, Payment]:
        """These payments, locked in the order of their ids until the transaction ends.

        The first statement locks, later statements read the children: a sub-select in the locking statement would see
        them as they were before it waited.
        """
        return await self._fetch(payment_ids, lock=True)

    async def load(self, payment_ids: Collection[str]) -> dict[str, Payment]:
        """These payments as they are, without a lock."""
        return await self._fetch(payment_ids, lock=False)

    async def newest(self, wanted: PaymentFilter, *, before: str | None, limit: int) -> list[Payment]:
        """Payments that fit, newest first: ids sort by the time they were made."""
        p = tables.payments.c
        query = select(tables.payments).order_by(p.payment_id.desc()).limit(limit)
        for column, value in (
            (p.status, wanted.status.value if wanted.status else None),
            (p.provider, wanted.provider),
            (p.order_id, wanted.order_id),
            (p.needs_review, wanted.needs_review),
        ):
            query = query if value is None else query.where(column == value)
        query = query if before is None else query.where(p.payment_id < before)
        query = query if wanted.created_from is None else query.where(p.created_at >= wanted.created_from)
        query = query if wanted.created_to is None else query.where(p.created_at < wanted.created_to)
        return [*(await self._whole(query)).values()]

    async def _fetch(self, payment_ids: Collection[str], *, lock: bool) -> dict[str, Payment]:
        if not payment_ids:
            return {}
        column = tables.payments.c.payment_id
        query = select(tables.payments).where(column.in_(sorted(payment_ids))).order_by(column)
        return await self._whole(query.with_for_update() if lock else query)

    async def _whole(self, query: Select[Any]) -> dict[str, Payment]:
        rows = (await self._connection.execute(query)).mappings().all()
        ids = [row["payment_id"] for row in rows]
        attempts = await self._children(tables.attempts, ids)
        charges = await self._children(tables.charges, ids)
        refunds = await self._children(tables.refunds, [r["payment_id"] for r in rows if r["refunds"]])
        cases = await self._children(tables.cases, [r["payment_id"] for r in rows if r["cases"]])
        return {
            row["payment_id"]: from_rows(
                PaymentRows(
                    row,
                    attempts[row["payment_id"]],
                    charges[row["payment_id"]],
                    refunds[row["payment_id"]],
                    cases[row["payment_id"]],
                )
            )
            for row in rows
        }

    async def _children(self, table: Table, payment_ids: list[str]) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        if payment_ids:
            query = select(table).where(table.c.payment_id.in_(payment_ids))
            for row in (await self._connection.execute(query)).mappings():
                found[row["payment_id"]].append(dict(row))
        return found

    async def save(self, changes: Sequence[Change]) -> dict[str, Payment]:
        """The changed payments with their new versions, their changed children, their events and history appended.

        Errors: StaleWrite when a version differs; the constraints say it for what versions cannot see.
        """
        saved = {}
        before, after = [], []
        ordered = sorted(changes, key=lambda c: c.after.payment_id)
        for change in ordered:
            stored = attrs.evolve(change.after, version=(change.before.version if change.before else 0) + 1)
            saved[stored.payment_id] = stored
            before.append(to_rows(change.before) if change.before else None)
            after.append(to_rows(stored))
            await self._write_payment(change.before, after[-1].payment)
        pairs = [*zip(before, after, strict=True)]
        await self._upsert(tables.attempts, [r for b, a in pairs for r in changed(b.attempts if b else (), a.attempts)])
        await self._upsert(tables.charges, [r for b, a in pairs for r in changed(b.charges if b else (), a.charges)])
        await self._upsert(tables.refunds, [r for b, a in pairs for r in changed(b.refunds if b else (), a.refunds)])
        await self._upsert(tables.cases, [r for b, a in pairs for r in changed(b.cases if b else (), a.cases)])
        await self._append([event for change in changes for event in change.events])
        await self._history.append([*zip(ordered, before, after, strict=True)])
        return saved

    async def _write_payment(self, before: Payment | None, row: Any) -> None:  # noqa: ANN401 - a row
        table = tables.payments
        if before is None:
            await self._connection.execute(table.insert().values(row))
            return
        where = (table.c.payment_id == bindparam("id_was")) & (table.c.version == bindparam("version_was"))
        values = {**row, "id_was": before.payment_id, "version_was": before.version}
        result = await self._connection.execute(update(table).where(where), values)
        if result.rowcount != 1:
            raise StaleWrite(f"payment {before.payment_id} was changed by somebody else")

    async def _upsert(self, table: Table, rows: list[Row]) -> None:
        if not rows:
            return
        insert = insert_into(self._connection, table)
        key = [column.name for column in table.primary_key.columns]
        rest = {column.name: insert.excluded[column.name] for column in table.columns if column.name not in key}
        await self._connection.execute(insert.on_conflict_do_update(index_elements=key, set_=rest), rows)

    async def _append(self, events: Iterable[Event]) -> None:
        rows = [event_to_row(event) for event in events]
        if not rows:
            return
        await self._connection.execute(tables.events.insert(), rows)
        if self._subscribers:
            due = [
                {
                    "subscriber": subscriber,
                    "payment_id": row["payment_id"],
                    "sequence": row["sequence"],
                    "try_at": row["at"],
                    "tries": 0,
                }
                for row in rows
                for subscriber in self._subscribers
            ]
            await self._connection.execute(tables.outbox.insert(), due)

    async def take_numbers(self, payment_ids: Collection[str]) -> dict[str, int]:
        """A new reading number for each payment, in one statement on its row."""
        table = tables.payments
        numbers = (
            update(table)
            .where(table.c.payment_id.in_(sorted(payment_ids)))
            .values(reading_number=table.c.reading_number + 1)
            .returning(table.c.payment_id, table.c.reading_number)
        )
        return {row.payment_id: row.reading_number for row in await self._connection.execute(numbers)}

    async def history(self, payment_id: str, *, after: int, limit: int) -> list[Event]:
        """Events with a sequence above `after`, oldest first."""
        e = tables.events.c
        query = (
            select(tables.events)
            .where((e.payment_id == payment_id) & (e.sequence > after))
            .order_by(e.sequence)
            .limit(limit)
        )
        return [
            Event(row.payment_id, row.sequence, FactType(row.type), row.at, row.actor, row.data)
            for row in await self._connection.execute(query)
        ]

    async def bind(self, payment_id: str, provider: str, account: str, transaction_id: str) -> bool:
        """Whether this transaction belongs to this payment, binding it when it belongs to none."""
        table = tables.charge_owners
        key = {"provider": provider, "account": account, "transaction_id": transaction_id}
        insert = insert_into(self._connection, table).values(**key, payment_id=payment_id).on_conflict_do_nothing()
        await self._connection.execute(insert)
        owner = await self._connection.scalar(select(table.c.payment_id).filter_by(**key))
        return bool(owner == payment_id)

    async def owners(self, provider: str, account: str, transaction_ids: Collection[str]) -> dict[str, str]:
        """The payment each of these transactions was bound to."""
        if not transaction_ids:
            return {}
        c = tables.charge_owners.c
        query = select(c.transaction_id, c.payment_id).where(
            c.provider == provider, c.account == account, c.transaction_id.in_(sorted(transaction_ids))
        )
        return {row.transaction_id: row.payment_id for row in await self._connection.execute(query)}
