"""The first schema: payments with their pages and charges, inbox, outbox, orders and stock.

What later versions need stands here already: reading numbers, due columns, `account`, the outbox.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UTC = sa.DateTime(timezone=True)
_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def _only(condition: str) -> dict[str, Any]:
    """A partial index: only the rows that are asked for."""
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def upgrade() -> None:

    op.create_table(
        "attempts",
        sa.Column("payment_id", sa.String(26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("account", sa.String(32), nullable=False),
        sa.Column("provider_order_id", sa.String(128), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=True),
        sa.Column("methods", _JSON, nullable=False),
        sa.Column("return_url", sa.Text(), nullable=True),
        sa.Column("request", sa.Text(), nullable=True),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("opened_at", _UTC, nullable=False),
        sa.Column("ends_at", _UTC, nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("resend", sa.Boolean(), nullable=False),
        sa.Column("lease_until", _UTC, nullable=True),
        sa.Column("closing", sa.String(32), nullable=True),
        sa.Column("closing_by", sa.Text(), nullable=True),
        sa.Column("doubt", sa.String(32), nullable=True),
        sa.Column("proof", sa.String(32), nullable=True),
        sa.Column("check_at", _UTC, nullable=True),
        sa.Column("checks", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("payment_id", "number"),
    )
    op.create_index("ix_attempts_due", "attempts", ["check_at"], **_only("check_at IS NOT NULL"))
    op.create_index(
        "ux_attempts_payable",
        "attempts",
        ["payment_id"],
        unique=True,
        **_only("state IN ('opening', 'open', 'closing')"),
    )
    op.create_table(
        "cases",
        sa.Column("payment_id", sa.String(26), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("transaction_id", sa.String(128), nullable=True),
        sa.Column("opened_at", _UTC, nullable=False),
        sa.Column("evidence", _JSON, nullable=False),
        sa.Column("decision", sa.String(32), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", _UTC, nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("payment_id", "number"),
    )
    op.create_index("ix_cases_open", "cases", ["opened_at"], **_only("decision IS NULL"))
    op.create_table(
        "charge_owners",
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("account", sa.String(32), nullable=False),
        sa.Column("transaction_id", sa.String(128), nullable=False),
        sa.Column("payment_id", sa.String(26), nullable=False),
        sa.PrimaryKeyConstraint("provider", "account", "transaction_id"),
    )
    op.create_table(
        "charges",
        sa.Column("payment_id", sa.String(26), nullable=False),
        sa.Column("transaction_id", sa.String(128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.String(32), nullable=True),
        sa.Column("authorized_minor", sa.BigInteger(), nullable=False),
        sa.Column("captured_minor", sa.BigInteger(), nullable=False),
        sa.Column("refunded_minor", sa.BigInteger(), nullable=False),
        sa.Column("charged_back_minor", sa.BigInteger(), nullable=False),
        sa.Column("reversed_minor", sa.BigInteger(), nullable=False),
        sa.Column("charged_back_unknown", sa.Boolean(), nullable=False),
        sa.Column("authorized_by_reading", sa.Boolean(), nullable=False),
        sa.Column("had_money", sa.Boolean(), nullable=False),
        sa.Column("faults", _JSON, nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("cancel_asked", sa.Boolean(), nullable=False),
        sa.Column("reading_number", sa.Integer(), nullable=False),
        sa.Column("contradicted", sa.Boolean(), nullable=False),
        sa.Column("recheck_after", _UTC, nullable=True),
        sa.Column("decline_code", sa.Text(), nullable=True),
        sa.Column("decline_method", sa.String(32), nullable=True),
        sa.Column("decline_at", _UTC, nullable=True),
        sa.Column("occurred_at", _UTC, nullable=True),
        sa.Column("due", sa.String(32), nullable=True),
        sa.Column("check_at", _UTC, nullable=True),
        sa.Column("checks", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("payment_id", "transaction_id"),
    )
    op.create_index("ix_charges_due", "charges", ["check_at"], **_only("check_at IS NOT NULL"))
    op.create_table(
        "events",
        sa.Column("payment_id", sa.String(26), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("at", _UTC, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("data", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("payment_id", "sequence"),
    )
    op.create_table(
        "notifications",
        sa.Column("shard", sa.String(26), nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("account", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("transaction_id", sa.String(128), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", _UTC, nullable=False),
        sa.Column("verdict", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("check_at", _UTC, nullable=True),
        sa.PrimaryKeyConstraint("shard", "provider", "account", "digest"),
    )
    op.create_index("ix_notifications_due", "notifications", ["check_at"], **_only("check_at IS NOT NULL"))
    op.create_index(
        "ix_notifications_waiting", "notifications", ["shard", "transaction_id"], **_only("verdict = 'waiting'")
    )
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("account", sa.String(32), nullable=False),
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("customer", _JSON, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("items", _JSON, nullable=False),
        sa.Column("discount_minor", sa.BigInteger(), nullable=False),
        sa.Column("shipping", _JSON, nullable=True),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("expired", sa.Boolean(), nullable=False),
        sa.Column("payment_id", sa.String(26), nullable=True),
        sa.Column("reserved_at", _UTC, nullable=False),
        sa.Column("expires_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("order_id"),
    )
    op.create_index("ix_orders_due", "orders", ["expires_at"], **_only("status = 'pending' AND payment_id IS NULL"))
    op.create_table(
        "outbox",
        sa.Column("subscriber", sa.String(32), nullable=False),
        sa.Column("payment_id", sa.String(26), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("try_at", _UTC, nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("payment_id", "sequence", "subscriber"),
    )
    op.create_index("ix_outbox_due", "outbox", ["try_at"], **_only("try_at IS NOT NULL"))
    op.create_table(
        "payments",
        sa.Column("payment_id", sa.String(26), nullable=False),
        sa.Column("account", sa.String(32), nullable=False),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("owed_currency", sa.String(3), nullable=False),
        sa.Column("owed_minor", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("needs_review", sa.Boolean(), nullable=False),
        sa.Column("created_at", _UTC, nullable=False),
        sa.Column("reserved_at", _UTC, nullable=False),
        sa.Column("closed_as", sa.String(32), nullable=True),
        sa.Column("closed_at", _UTC, nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("paid_by", sa.String(128), nullable=True),
        sa.Column("paid_at", _UTC, nullable=True),
        sa.Column("reading_number", sa.Integer(), nullable=False),
        sa.Column("deadline_at", _UTC, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("refunds", sa.Integer(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name="ck_payments_amount"),
        sa.PrimaryKeyConstraint("payment_id"),
    )
    op.create_index("ix_payments_due", "payments", ["deadline_at"], **_only("deadline_at IS NOT NULL"))
    op.create_index(op.f("ix_payments_order_id"), "payments", ["order_id"])
    op.create_table(
        "refunds",
        sa.Column("payment_id", sa.String(26), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("transaction_id", sa.String(128), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", _UTC, nullable=False),
        sa.Column("check_at", _UTC, nullable=True),
        sa.Column("checks", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("payment_id", "key"),
    )
    op.create_index("ix_refunds_due", "refunds", ["check_at"], **_only("check_at IS NOT NULL"))
    op.create_table(
        "reservations",
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("sku", sa.String(128), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.CheckConstraint("quantity > 0", name="ck_reservations_quantity"),
        sa.PrimaryKeyConstraint("order_id", "sku"),
    )
    op.create_index("ix_reservations_reserved", "reservations", ["sku"], **_only("state = 'reserved'"))
    op.create_table(
        "stock",
        sa.Column("sku", sa.String(128), nullable=False),
        sa.Column("available", sa.Integer(), nullable=False),
        sa.CheckConstraint("available >= 0", name="ck_stock_available"),
        sa.PrimaryKeyConstraint("sku"),
    )


def downgrade() -> None:
    for table in (
        "stock",
        "reservations",
        "refunds",
        "payments",
        "outbox",
        "orders",
        "notifications",
        "events",
        "charges",
        "charge_owners",
        "cases",
        "attempts",
    ):
        op.drop_table(table)
