"""When a capture, an approval or a denial was asked for: what is under way counts from now."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("charges", sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE charges SET asked_at = CURRENT_TIMESTAMP WHERE due IN ('capture', 'approve', 'deny')")


def downgrade() -> None:
    op.drop_column("charges", "asked_at")
