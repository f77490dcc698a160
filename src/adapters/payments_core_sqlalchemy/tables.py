"""Core tables, their constraints and indexes.

Constraints carry what must never be wrong: one payable page for a payment, one row for one notification, one owner for
a transaction, stock that never falls below zero.
Every unique key holds the shard key (the payment id; `notifications.shard` and a transaction's own id play that part),
so that the same schema can be distributed; there are no advisory locks and no cross-shard foreign keys.
Every row that needs attention says when: the `…_at` columns with a partial index.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

__all__ = [
    "attempts",
    "cases",
    "charge_owners",
    "charges",
    "events",
    "gateway_shares",
    "history",
    "idempotency",
    "metadata",
    "notifications",
    "orders",
    "outbox",
    "payments",
    "reconciliations",
    "refreshes",
    "refunds",
    "reservations",
    "stock",
]


_TEXT_LENGTH = len("2026-01-01 05:00:00.000000")


class Utc(TypeDecorator[datetime]):
    """A moment in UTC: `timestamptz` on PostgreSQL, text on SQLite, always aware in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite keeps no offset, so it gets UTC without one."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        return value.astimezone(UTC).replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware again."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)

    @staticmethod
    def to_text(value: datetime | None) -> str | None:
        """The moment as SQLAlchemy writes it on SQLite, in half its time; its reading is as fast as can be."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        return value.astimezone(UTC).isoformat(" ", "microseconds")[:_TEXT_LENGTH]


metadata = MetaData()

_Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_PAYMENT_ID, _ORDER_ID, _REFERENCE, _WORD = String(26), String(64), String(128), String(32)


def _due_index(table: str, column: str) -> Index:
    """The rows that are waiting for their time, and only those."""
    where = text(f"{column} IS NOT NULL")
    return Index(f"ix_{table}_due", column, postgresql_where=where, sqlite_where=where)


def _only(name: str, column: str, condition: str, *, unique: bool = False, more: tuple[str, ...] = ()) -> Index:
    where: Any = text(condition)
    return Index(name, column, *more, unique=unique, postgresql_where=where, sqlite_where=where)


payments = Table(
    "payments",
    metadata,
    Column("payment_id", _PAYMENT_ID, primary_key=True),
    Column("account", _WORD, nullable=False),
    Column("order_id", _ORDER_ID, nullable=False, index=True),
    Column("currency", String(3), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("owed_currency", String(3), nullable=False),
    Column("owed_minor", BigInteger, nullable=False),
    Column("status", _WORD, nullable=False),
    Column("provider", _WORD, nullable=False),
    Column("needs_review", Boolean, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("reserved_at", Utc, nullable=False),
    Column("closed_as", _WORD),
    Column("closed_at", Utc),
    Column("closed_by", Text),
    Column("paid_by", _REFERENCE),
    Column("paid_at", Utc),
    Column("reading_number", Integer, nullable=False),
    Column("deadline_at", Utc),
    Column("version", Integer, nullable=False),
    Column("events", Integer, nullable=False),
    Column("refunds", Integer, nullable=False),
    Column("cases", Integer, nullable=False),
    CheckConstraint("amount_minor > 0", name="ck_payments_amount"),
    _due_index("payments", "deadline_at"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("payment_id", _PAYMENT_ID, nullable=False),
    Column("number", Integer, nullable=False),
    Column("provider", _WORD, nullable=False),
    Column("account", _WORD, nullable=False),
    Column("provider_order_id", _REFERENCE, nullable=False),
    Column("state", _WORD, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("merchant_id", Text),
    Column("live", Boolean),
    Column("methods", _Json, nullable=False),
    Column("return_url", Text),
    Column("request", Text),
    Column("token", Text),
    Column("url", Text),
    Column("opened_at", Utc, nullable=False),
    Column("ends_at", Utc, nullable=False),
    Column("sends", Integer, nullable=False),
    Column("resend", Boolean, nullable=False),
    Column("lease_until", Utc),
    Column("closing", _WORD),
    Column("closing_by", Text),
    Column("doubt", _WORD),
    Column("proof", _WORD),
    Column("check_at", Utc),
    Column("checks", Integer, nullable=False),
    PrimaryKeyConstraint("payment_id", "number"),
    _only("ux_attempts_payable", "payment_id", "state IN ('opening', 'open', 'closing')", unique=True),
    _due_index("attempts", "check_at"),
)

charges = Table(
    "charges",
    metadata,
    Column("payment_id", _PAYMENT_ID, nullable=False),
    Column("transaction_id", _REFERENCE, nullable=False),
    Column("position", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", _WORD, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("method", _WORD),
    Column("authorized_minor", BigInteger, nullable=False),
    Column("captured_minor", BigInteger, nullable=False),
    Column("refunded_minor", BigInteger, nullable=False),
    Column("charged_back_minor", BigInteger, nullable=False),
    Column("reversed_minor", BigInteger, nullable=False),
    Column("charged_back_unknown", Boolean, nullable=False),
    Column("authorized_by_reading", Boolean, nullable=False),
    Column("had_money", Boolean, nullable=False),
    Column("faults", _Json, nullable=False),
    Column("accepted", Boolean, nullable=False),
    Column("cancel_asked", Boolean, nullable=False),
    Column("reading_number", Integer, nullable=False),
    Column("contradicted", Boolean, nullable=False),
    Column("recheck_after", Utc),
    Column("decline_code", Text),
    Column("decline_method", _WORD),
    Column("decline_at", Utc),
    Column("occurred_at", Utc),
    Column("due", _WORD),
    Column("capture_minor", BigInteger),
    Column("asked_by", Text),
    Column("asked_at", Utc),
    Column("check_at", Utc),
    Column("checks", Integer, nullable=False),
    PrimaryKeyConstraint("payment_id", "transaction_id"),
    _due_index("charges", "check_at"),
)

charge_owners = Table(
    "charge_owners",
    metadata,
    Column("provider", _WORD, nullable=False),
    Column("account", _WORD, nullable=False),
    Column("transaction_id", _REFERENCE, nullable=False),
    Column("payment_id", _PAYMENT_ID, nullable=False),
    PrimaryKeyConstraint("provider", "account", "transaction_id"),
)
"""Whose a transaction is, where the gateway's answers do not name our order id; and whose a booking is, by its name."""

refunds = Table(
    "refunds",
    metadata,
    Column("payment_id", _PAYMENT_ID, nullable=False),
    Column("key", _REFERENCE, nullable=False),
    Column("position", Integer, nullable=False),
    Column("transaction_id", _REFERENCE, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("state", _WORD, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text),
    Column("asked_as", Text),
    Column("case_number", Integer),
    Column("refused", Text),
    Column("elsewhere_minor", BigInteger, nullable=False, server_default="0"),
    Column("at", Utc, nullable=False),
    Column("check_at", Utc),
    Column("checks", Integer, nullable=False),
    PrimaryKeyConstraint("payment_id", "key"),
    _due_index("refunds", "check_at"),
)

cases = Table(
    "cases",
    metadata,
    Column("payment_id", _PAYMENT_ID, nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", _WORD, nullable=False),
    Column("transaction_id", _REFERENCE),
    Column("opened_at", Utc, nullable=False),
    Column("evidence", _Json, nullable=False),
    Column("decision", _WORD),
    Column("decided_by", Text),
    Column("decided_at", Utc),
    Column("note", Text),
    PrimaryKeyConstraint("payment_id", "number"),
    _only("ix_cases_open", "opened_at", "decision IS NULL"),
)

events = Table(
    "events",
    metadata,
    Column("payment_id", _PAYMENT_ID, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("type", _WORD, nullable=False),
    Column("at", Utc, nullable=False),
    Column("actor", Text, nullable=False),
    Column("data", _Json, nullable=False),
    PrimaryKeyConstraint("payment_id", "sequence"),
)
"""What was published: only ever appended to."""

history = Table(
    "history",
    metadata,
    Column("payment_id", _PAYMENT_ID, nullable=False),
    Column("version", Integer, nullable=False),
    Column("key_id", String(8), nullable=False),
    Column("body", Text),
    Column("body_digest", String(64), nullable=False),
    Column("chain", String(64), nullable=False),
    PrimaryKeyConstraint("payment_id", "version"),
)
"""One chained entry a save (`payments_core.chain`): only ever appended to, except that a body may be erased."""

outbox = Table(
    "outbox",
    metadata,
    Column("subscriber", _WORD, nullable=False),
    Column("payment_id", _PAYMENT_ID, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("try_at", Utc),
    Column("tries", Integer, nullable=False),
    PrimaryKeyConstraint("payment_id", "sequence", "subscriber"),
    _due_index("outbox", "try_at"),
)
"""Events still to be delivered, one row a subscriber, written in the transaction that makes the event."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("about", _ORDER_ID, nullable=False),
    Column("subject", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("key", String(255), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("made_at", Utc, nullable=False),
    Column("lease_until", Utc),
    Column("status", Integer),
    Column("body", LargeBinary),
    PrimaryKeyConstraint("about", "subject", "route", "key"),
    Index("ix_idempotency_made", "made_at"),
)
"""Requests that carried an Idempotency-Key: leased while they run, answered the same afterwards."""

notifications = Table(
    "notifications",
    metadata,
    Column("shard", _PAYMENT_ID, nullable=False),
    Column("provider", _WORD, nullable=False),
    Column("account", _WORD, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("transaction_id", _REFERENCE, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("received_at", Utc, nullable=False),
    Column("verdict", _WORD, nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("times", Integer, nullable=False),
    Column("check_at", Utc),
    PrimaryKeyConstraint("shard", "provider", "account", "digest"),
    _only("ix_notifications_unmatched", "received_at", "verdict = 'unmatched'"),
    _only("ix_notifications_waiting", "shard", "verdict = 'waiting'", more=("transaction_id",)),
    _due_index("notifications", "check_at"),
)

orders = Table(
    "orders",
    metadata,
    Column("order_id", _ORDER_ID, primary_key=True),
    Column("account", _WORD, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("customer", _Json, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("items", _Json, nullable=False),
    Column("discount_minor", BigInteger, nullable=False),
    Column("shipping", _Json),
    Column("total_minor", BigInteger, nullable=False),
    Column("status", _WORD, nullable=False),
    Column("expired", Boolean, nullable=False),
    Column("payment_id", _PAYMENT_ID),
    Column("reserved_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),
    _only("ix_orders_due", "expires_at", "status = 'pending' AND payment_id IS NULL"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("order_id", _ORDER_ID, nullable=False),
    Column("sku", _REFERENCE, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("state", _WORD, nullable=False),
    PrimaryKeyConstraint("order_id", "sku"),
    CheckConstraint("quantity > 0", name="ck_reservations_quantity"),
    _only("ix_reservations_reserved", "sku", "state = 'reserved'"),
)

stock = Table(
    "stock",
    metadata,
    Column("sku", _REFERENCE, primary_key=True),
    Column("available", Integer, nullable=False),
    CheckConstraint("available >= 0", name="ck_stock_available"),
)
"""`available` moves when an order reserves or releases, never when it is paid: a hot product is no lock there."""

refreshes = Table(
    "refreshes",
    metadata,
    Column("payment_id", _PAYMENT_ID, primary_key=True),
    Column("asked_at", Utc, nullable=False),
    Index("ix_refreshes_asked", "asked_at"),
)
"""When readers last made us ask the gateway about a payment; forgotten after an hour."""

gateway_shares = Table(
    "gateway_shares",
    metadata,
    Column("provider", _WORD, nullable=False),
    Column("holder", String(64), nullable=False),
    Column("in_flight", Integer, nullable=False),
    Column("per_second", Integer, nullable=False),
    Column("until", Float, nullable=False),
    PrimaryKeyConstraint("provider", "holder"),
)
"""Each living process's part of what a gateway may be asked; the row without a holder is the lock of its provider.

`until` is seconds by the database's clock, which all processes share.
"""

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("name", _WORD, primary_key=True),
    Column("since", Utc, nullable=False),
    Column("cursor", _PAYMENT_ID),
    Column("begun_at", Utc, nullable=False),
    Column("seen_at", Utc, nullable=False),
    Column("tally", _Json, nullable=False),
)
"""How far a reconciliation has come; the row goes when it has come to its end."""
