"""The payments of orders in one statement, which is what status reads cost; and the pages of payments with it.

A charge belongs to an attempt, so joining the two gives a row for each, never the product of both. Refunds and cases
are rare and belong to neither: a payment that has some is read in a transaction, a statement for each table.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from sqlalchemy import Label, Table, case, func, select

from payments_core.orders import StockMove
from payments_core.ports import OrderPayment
from payments_core_sqlalchemy.rows import PaymentRows, Row, from_rows
from payments_core_sqlalchemy.statements import Statement, any_of, written_out
from payments_core_sqlalchemy.tables import attempts, charges, history, orders, payments, reservations

__all__ = ["FIND", "TRIED", "Unfinished", "found_in", "tried"]

_PARTS = (payments, attempts, charges)
_LABELS: Mapping[str, Sequence[tuple[str, str]]] = {
    table.name: [(column.name, f"{table.name}_{column.name}") for column in table.columns] for table in _PARTS
}


def _labelled(*of: Table) -> list[Label[Any]]:
    return [table.c[name].label(label) for table in of for name, label in _LABELS[table.name]]


_ON_THE_PAGE = (charges.c.payment_id == attempts.c.payment_id) & (charges.c.attempt == attempts.c.number)
FIND = Statement(
    select(orders.c.order_id, orders.c.customer_id, *_labelled(*_PARTS))
    .select_from(
        orders.outerjoin(payments, payments.c.payment_id == orders.c.payment_id)
        .outerjoin(attempts, attempts.c.payment_id == payments.c.payment_id)
        .outerjoin(charges, _ON_THE_PAGE)
    )
    .where(any_of(orders.c.order_id, "ids"))
)
_HELD = (
    select(func.max(case((reservations.c.state == written_out(StockMove.RESERVED), 1), else_=0)))
    .where(reservations.c.order_id == payments.c.order_id)
    .correlate(payments)
    .scalar_subquery()
)
"""Asked for the state as a condition, PostgreSQL may look through everything that is reserved."""
TRIED = Statement(
    select(
        *_labelled(attempts, charges),
        payments.c.order_id,
        history.c.version.label("saved_as"),
        history.c.chain,
        _HELD.label("held"),
    )
    .select_from(
        attempts.join(payments, payments.c.payment_id == attempts.c.payment_id)
        .outerjoin(charges, _ON_THE_PAGE)
        .outerjoin(history, (history.c.payment_id == payments.c.payment_id) & (history.c.version == payments.c.version))
    )
    .where(any_of(attempts.c.payment_id, "ids"))
)
"""The pages of these payments and what was tried on them; what a save of them needs beside: the history's newest entry,
which the next one builds on, and whether units are reserved for the order."""


@attrs.frozen
class Unfinished:
    """The payment has more parts than one statement reads."""

    customer_id: str
    payment_id: str


def found_in(rows: Sequence[Row]) -> OrderPayment | Unfinished | None:
    """What the rows of `FIND` say of one order."""
    if not rows:
        return None
    customer_id, payment = rows[0]["customer_id"], _part(payments, rows[0])
    if payment["payment_id"] is None:
        return OrderPayment(customer_id, None)
    if payment["refunds"] or payment["cases"]:
        return Unfinished(customer_id, payment["payment_id"])
    return OrderPayment(customer_id, from_rows(PaymentRows(payment, *tried(rows), [], [])))


def tried(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The attempts and the charges that these rows of one payment hold."""
    pages = {row["attempts_number"]: _part(attempts, row) for row in rows if row["attempts_number"] is not None}
    return [*pages.values()], [_part(charges, row) for row in rows if row["charges_transaction_id"] is not None]


def _part(table: Table, row: Mapping[str, Any]) -> Row:
    return {name: row[label] for name, label in _LABELS[table.name]}
