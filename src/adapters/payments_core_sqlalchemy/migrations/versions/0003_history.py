"""The history: one chained entry a save of a payment, which the database itself refuses to change.

The triggers stop accidents. Whoever may alter the schema can drop them: that is what the chain is for.
Code of the version before keeps running beside this table; the payments it saves have gaps, and `payments verify` names
them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEPT = ("payment_id", "version", "key_id", "body_digest", "chain")
_ERASES = "NEW.body IS NULL AND " + " AND ".join(f"NEW.{name} = OLD.{name}" for name in _KEPT)
"""The one change that is allowed."""
_REFUSED = "history is only ever appended to"


def upgrade() -> None:
    op.create_table(
        "history",
        sa.Column("payment_id", sa.String(26), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.String(8), nullable=False),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("body_digest", sa.String(64), nullable=False),
        sa.Column("chain", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("payment_id", "version"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION history_refuses() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$"
        )
        op.execute(
            "CREATE TRIGGER history_no_update BEFORE UPDATE ON history FOR EACH ROW "
            f"WHEN (NOT ({_ERASES})) EXECUTE FUNCTION history_refuses()"
        )
        op.execute(
            "CREATE TRIGGER history_no_delete BEFORE DELETE ON history FOR EACH ROW EXECUTE FUNCTION history_refuses()"
        )
    else:
        op.execute(
            f"CREATE TRIGGER history_no_update BEFORE UPDATE ON history WHEN NOT ({_ERASES}) "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )
        op.execute(
            f"CREATE TRIGGER history_no_delete BEFORE DELETE ON history BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )


def downgrade() -> None:
    op.drop_table("history")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION history_refuses()")
