"""Payments by id, many at a time: locked, loaded, saved by version, with their history."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Table, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from payments_core.errors import StaleWrite
from payments_core.evolving import evolve
from payments_core.facts import Event, FactType
from payments_core.payment import Payment
from payments_core.ports import Change, PaymentFilter
from payments_core_sqlalchemy import tables
from payments_core_sqlalchemy.finding import TRIED, tried
from payments_core_sqlalchemy.history import Save, SqlHistory
from payments_core_sqlalchemy.rows import PaymentRows, Row, changed, event_to_row, from_rows, to_rows
from payments_core_sqlalchemy.session import Session
from payments_core_sqlalchemy.statements import Statement, any_of, insert, update_by, upsert

__all__ = ["SqlPayments", "insert_into"]


def insert_into(connection: AsyncConnection, table: Table) -> Any:  # noqa: ANN401 - one of two dialects' Insert
    """The dialect's INSERT, which knows ON CONFLICT."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _of_payments(table: Table) -> Statement:
    return Statement(select(table).where(any_of(table.c.payment_id, "ids")))


_p = tables.payments.c
_BY_ID = select(tables.payments).where(any_of(_p.payment_id, "ids")).order_by(_p.payment_id)
_LOAD, _LOCK = Statement(_BY_ID), Statement(_BY_ID.with_for_update())
_REFUNDS, _CASES = _of_payments(tables.refunds), _of_payments(tables.cases)
_TAKE_NUMBERS = Statement(
    update(tables.payments)
    .where(any_of(_p.payment_id, "ids"))
    .values(reading_number=_p.reading_number + 1)
    .returning(_p.payment_id, _p.reading_number)
)
_NEW_PAYMENT, _NEW_EVENT, _NEW_DELIVERY = insert(tables.payments), insert(tables.events), insert(tables.outbox)
_NEW_ENTRY = insert(tables.history)
_CHANGE_PAYMENT = update_by(
    tables.payments,
    {"payment_id": "payment_id", "version": "version_was"},
    [column.name for column in tables.payments.columns if column.name != "payment_id"],
)
_KEEP_NUMBER = update_by(tables.payments, {"payment_id": "payment_id"}, ["reading_number"])
_PUT_ATTEMPT, _PUT_CHARGE = upsert(tables.attempts), upsert(tables.charges)
_PUT_REFUND, _PUT_CASE = upsert(tables.refunds), upsert(tables.cases)


class SqlPayments:
    """The `Payments` port.

    `held` is told, of every order whose payment is locked, whether units are reserved for it.
    """

    def __init__(
        self, session: Session, history: SqlHistory, held: dict[str, bool], subscribers: Sequence[str]
    ) -> None:
        self._session = session
        self._connection = session.connection
        self._history = history
        self._held = held
        self._subscribers = subscribers
        self._loaded: dict[str, tuple[Payment, PaymentRows]] = {}

    async def lock(self, payment_ids: Collection[str]) -> dict[str, Payment]:
        """These payments, locked in the order of their ids until the transaction ends.

        The first statement locks, later statements read the children: a sub-select in the locking statement would see
        them as they were before it waited.
        """
        return await self._fetch(_LOCK, payment_ids, locked=True)

    async def load(self, payment_ids: Collection[str]) -> dict[str, Payment]:
        """These payments as they are, without a lock."""
        return await self._fetch(_LOAD, payment_ids)

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
        rows = (await self._session.execute(query)).mappings().all()
        return [*(await self._whole([dict(row) for row in rows])).values()]

    async def _fetch(
        self, statement: Statement, payment_ids: Collection[str], *, locked: bool = False
    ) -> dict[str, Payment]:
        if not payment_ids:
            return {}
        return await self._whole(await self._session.rows(statement, ids=sorted(payment_ids)), locked=locked)

    async def _whole(self, rows: Sequence[Row], *, locked: bool = False) -> dict[str, Payment]:
        ids = [row["payment_id"] for row in rows]
        pages = await self._children(TRIED, ids, by="attempts_payment_id")
        for payment_id, of_payment in pages.items():
            self._history.remember(payment_id, of_payment[0]["saved_as"], of_payment[0]["chain"])
            if locked:
                self._held[of_payment[0]["order_id"]] = bool(of_payment[0]["held"])
        refunds = await self._children(_REFUNDS, [row["payment_id"] for row in rows if row["refunds"]])
        cases = await self._children(_CASES, [row["payment_id"] for row in rows if row["cases"]])
        found = {}
        for payment_id, row in zip(ids, rows, strict=True):
            stored = PaymentRows(row, *tried(pages[payment_id]), refunds[payment_id], cases[payment_id])
            found[payment_id] = from_rows(stored)
            self._loaded[payment_id] = (found[payment_id], stored)
        return found

    async def _children(
        self, statement: Statement, payment_ids: list[str], by: str = "payment_id"
    ) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        if payment_ids:
            for row in await self._session.rows(statement, ids=payment_ids):
                found[row[by]].append(row)
        return found

    async def save(self, changes: Sequence[Change]) -> dict[str, Payment]:
        """The changed payments with their new versions, their changed children, their events and history appended.

        Errors: StaleWrite when a version differs; the constraints say it for what versions cannot see.
        """
        saved, saves = {}, list[Save]()
        for change in sorted(changes, key=lambda c: c.after.payment_id):
            stored = evolve(change.after, version=(change.before.version if change.before else 0) + 1)
            saved[stored.payment_id] = stored
            before = self._rows_of(change.before) if change.before else None
            saves.append((change, before, to_rows(stored), [event_to_row(event) for event in change.events]))
        entries = await self._history.entries(saves)
        pairs = [(before, after) for _, before, after, _ in saves]
        events = [row for *_, of_change in saves for row in of_change]
        known = [{**a.payment, "version_was": b.payment["version"]} for b, a in pairs if b]
        new = [a.payment for b, a in pairs if not b]
        updated, *_ = await self._session.write(
            (_CHANGE_PAYMENT, known),
            (_NEW_PAYMENT, new),
            (_PUT_ATTEMPT, [row for b, a in pairs for row in changed(b.attempts if b else (), a.attempts)]),
            (_PUT_CHARGE, [row for b, a in pairs for row in changed(b.charges if b else (), a.charges)]),
            (_PUT_REFUND, [row for b, a in pairs for row in changed(b.refunds if b else (), a.refunds)]),
            (_PUT_CASE, [row for b, a in pairs for row in changed(b.cases if b else (), a.cases)]),
            (_NEW_EVENT, events),
            (_NEW_DELIVERY, self._deliveries(events)),
            (_NEW_ENTRY, entries),
        )
        if updated != len(known):
            raise StaleWrite(f"{len(known) - updated} of {len(known)} payments were changed by somebody else")
        return saved

    def _rows_of(self, payment: Payment) -> PaymentRows:
        """The rows this payment was read from, or would be."""
        known = self._loaded.get(payment.payment_id)
        return known[1] if known is not None and known[0] is payment else to_rows(payment)

    def _deliveries(self, events: Iterable[Row]) -> list[Row]:
        return [
            {
                "subscriber": subscriber,
                "payment_id": event["payment_id"],
                "sequence": event["sequence"],
                "try_at": event["at"],
                "tries": 0,
            }
            for event in events
            for subscriber in self._subscribers
        ]

    async def take_numbers(self, payment_ids: Collection[str]) -> dict[str, int]:
        """A new reading number for each payment, in one statement on its row."""
        rows = await self._session.rows(_TAKE_NUMBERS, ids=sorted(payment_ids))
        return {row["payment_id"]: row["reading_number"] for row in rows}

    async def keep_numbers(self, payments: Sequence[Payment]) -> None:
        """The reading numbers of these payments, which are locked, as they stand here."""
        rows = [{"payment_id": payment.payment_id, "reading_number": payment.reading_number} for payment in payments]
        self._session.write_later(_KEEP_NUMBER, rows)

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
            for row in await self._session.execute(query)
        ]

    async def bind(self, payment_id: str, provider: str, account: str, transaction_id: str) -> bool:
        """Whether this transaction belongs to this payment, binding it when it belongs to none."""
        table = tables.charge_owners
        key = {"provider": provider, "account": account, "transaction_id": transaction_id}
        insert = insert_into(self._connection, table).values(**key, payment_id=payment_id).on_conflict_do_nothing()
        await self._session.execute(insert)
        owner = await self._session.scalar(select(table.c.payment_id).filter_by(**key))
        return bool(owner == payment_id)

    async def owners(self, provider: str, account: str, transaction_ids: Collection[str]) -> dict[str, str]:
        """The payment each of these transactions was bound to."""
        if not transaction_ids:
            return {}
        c = tables.charge_owners.c
        query = select(c.transaction_id, c.payment_id).where(
            c.provider == provider, c.account == account, c.transaction_id.in_(sorted(transaction_ids))
        )
        return {row.transaction_id: row.payment_id for row in await self._session.execute(query)}
