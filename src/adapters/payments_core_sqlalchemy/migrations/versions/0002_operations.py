"""What operators ask for: how much to capture, who asked, and which request or case a refund belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("charges", sa.Column("capture_minor", sa.BigInteger(), nullable=True))
    op.add_column("charges", sa.Column("asked_by", sa.Text(), nullable=True))
    op.add_column("refunds", sa.Column("asked_as", sa.Text(), nullable=True))
    op.add_column("refunds", sa.Column("case_number", sa.Integer(), nullable=True))
    op.add_column("refunds", sa.Column("refused", sa.Text(), nullable=True))
    op.create_table(
        "idempotency",
        sa.Column("about", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("about", "subject", "route", "key"),
    )
    op.create_index("ix_idempotency_made", "idempotency", ["made_at"])
    unmatched = sa.text("verdict = 'unmatched'")
    op.create_index(
        "ix_notifications_unmatched",
        "notifications",
        ["received_at"],
        postgresql_where=unmatched,
        sqlite_where=unmatched,
    )


def downgrade() -> None:
    op.drop_index("ix_notifications_unmatched", "notifications")
    op.drop_table("idempotency")
    for table, column in (
        ("refunds", "refused"),
        ("refunds", "case_number"),
        ("refunds", "asked_as"),
        ("charges", "asked_by"),
        ("charges", "capture_minor"),
    ):
        op.drop_column(table, column)
