"""sync passes

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Running syncs continue: their stored pages become those of their first pass."""
    op.add_column("integration_account", sa.Column("passes", sa.Integer(), server_default="0", nullable=False))
    op.add_column("integration_account", sa.Column("withheld", sa.Integer(), nullable=True))
    op.add_column("sync_page", sa.Column("pass_number", sa.Integer(), server_default="0", nullable=False))
    op.add_column("sync_page", sa.Column("total", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("sync_page", "total")
    op.drop_column("sync_page", "pass_number")
    op.drop_column("integration_account", "withheld")
    op.drop_column("integration_account", "passes")
