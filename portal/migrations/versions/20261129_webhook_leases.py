"""which webhook deliveries are being sent, for all workers to see

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

IS_BUSY = "sending_until IS NOT NULL"


def upgrade() -> None:
    op.add_column("webhook_delivery", sa.Column("sending_until", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("webhook_delivery", schema=None) as batch_op:
        batch_op.create_index(
            "ix_webhook_delivery_busy",
            ["sending_until"],
            unique=False,
            sqlite_where=sa.text(IS_BUSY),
            postgresql_where=sa.text(IS_BUSY),
        )


def downgrade() -> None:
    with op.batch_alter_table("webhook_delivery", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_webhook_delivery_busy",
            sqlite_where=sa.text(IS_BUSY),
            postgresql_where=sa.text(IS_BUSY),
        )
    op.drop_column("webhook_delivery", "sending_until")
