"""a removed account has a date, and keeps its provider

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("integration_account", sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_integration_account_removed_at", "integration_account", ["removed_at"])
    op.execute("UPDATE integration_account SET removed_at = CURRENT_TIMESTAMP WHERE definition_id IS NULL")


def downgrade() -> None:
    op.execute("UPDATE integration_account SET definition_id = NULL WHERE removed_at IS NOT NULL")
    op.drop_index("ix_integration_account_removed_at", "integration_account")
    op.drop_column("integration_account", "removed_at")
