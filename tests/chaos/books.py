"""What the gateway's ledger says, and what the product has stored: read from outside, put side by side."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs
from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from payments_core.identity import read_provider_order_id
from payments_core_sqlalchemy import tables

_SEN = 100


@attrs.frozen
class Transaction:
    """One transaction at the gateway, in sen."""

    payment_id: str
    status: str
    captured: int
    refunded: int
    charged_back: int

    @property
    def left(self) -> int:
        """Money of the buyer that the shop still has."""
        return self.captured - self.refunded - self.charged_back


@attrs.frozen
class Ledger:
    """The oracle: every transaction by its id, and how many notifications are on their way."""

    transactions: Mapping[str, Transaction]
    pending: int
    notifications: Mapping[str, int]
    calls: Mapping[str, int]

    @classmethod
    def read(cls, *views: Mapping[str, Any]) -> "Ledger":
        """From `/_sim/ledger` of each gateway."""
        transactions = {}
        told, calls = Counter[str](), Counter[str]()
        for view in views:
            for provider_order_id, order in view["orders"].items():
                named = read_provider_order_id(provider_order_id)
                for one in order["transactions"]:
                    amounts = (one["captured_amount"], one["refunded_amount"], one["charged_back_amount"])
                    transactions[one["transaction_id"]] = Transaction(
                        named.payment_id if named else "", one["transaction_status"], *map(_sen, amounts)
                    )
            told.update(view["notifications"])
            calls.update(view["calls"])
        return cls(transactions, told["pending"], told, calls)

    def of_payments(self) -> dict[str, dict[str, Transaction]]:
        """Transactions by payment."""
        found: dict[str, dict[str, Transaction]] = defaultdict(dict)
        for transaction_id, one in self.transactions.items():
            found[one.payment_id][transaction_id] = one
        return found


@attrs.define
class Books:
    """Everything the product has stored about one order."""

    order_id: str
    status: str = ""
    payment_id: str | None = None
    payment_status: str = ""
    paid_by: str | None = None
    owed: int = 0
    charges: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    attempts: list[str] = attrs.field(factory=list)
    refunds: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    open_cases: list[tuple[str, str | None]] = attrs.field(factory=list)
    events: Counter[str] = attrs.field(factory=Counter)
    reservation: tuple[str, str, int] | None = None

    def left(self, transaction_id: str) -> int:
        """Money of this transaction that the product believes the shop still has."""
        charge = self.charges.get(transaction_id)
        if charge is None:
            return 0
        gone = charge["refunded_minor"] + charge["charged_back_minor"] + charge["reversed_minor"]
        return int(charge["captured_minor"] - gone)


@attrs.frozen
class Stored:
    """The product's database, whole."""

    orders: Mapping[str, Books]
    verdicts: Mapping[str, str]
    available: Mapping[str, int]


async def read_database(url: str) -> Stored:
    """What is stored now, as one picture."""
    engine = create_async_engine(url)
    try:
        async with engine.connect() as connection:
            if engine.dialect.name != "sqlite":
                await connection.execution_options(isolation_level="REPEATABLE READ")
            return await _read(connection)
    finally:
        await engine.dispose()


async def _read(connection: AsyncConnection) -> Stored:
    async def all_of(table: Table) -> list[dict[str, Any]]:
        return [dict(row) for row in (await connection.execute(select(table))).mappings()]

    orders = {
        row["order_id"]: Books(row["order_id"], row["status"], row["payment_id"]) for row in await all_of(tables.orders)
    }
    payments = {}
    for row in await all_of(tables.payments):
        books = payments[row["payment_id"]] = orders[row["order_id"]]
        books.payment_status, books.paid_by, books.owed = row["status"], row["paid_by"], row["owed_minor"]
    for row in await all_of(tables.charges):
        payments[row["payment_id"]].charges[row["transaction_id"]] = row
    for row in await all_of(tables.attempts):
        payments[row["payment_id"]].attempts.append(row["state"])
    for row in await all_of(tables.refunds):
        payments[row["payment_id"]].refunds[row["key"]] = row
    for row in await all_of(tables.cases):
        if row["decision"] is None:
            payments[row["payment_id"]].open_cases.append((row["kind"], row["transaction_id"]))
    for row in await all_of(tables.reservations):
        orders[row["order_id"]].reservation = (row["state"], row["sku"], row["quantity"])
    event = tables.events.c
    counted = select(event.payment_id, event.type, func.count()).group_by(event.payment_id, event.type)
    for payment_id, kind, many in await connection.execute(counted):
        payments[payment_id].events[kind] = many
    note, sku = tables.notifications.c, tables.stock.c
    verdicts = {row.digest: row.verdict for row in await connection.execute(select(note.digest, note.verdict))}
    available = {row.sku: row.available for row in await connection.execute(select(sku.sku, sku.available))}
    return Stored(orders, verdicts, available)


def _sen(amount: str) -> int:
    return int(Decimal(amount) * _SEN)
