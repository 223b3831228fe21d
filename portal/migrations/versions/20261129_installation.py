"""installation, garbage, unknown objects

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("id", ID, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("place", sa.String(length=64), nullable=False),
        sa.Column("owns_buckets", sa.Boolean(), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
        sa.UniqueConstraint("uuid", name=op.f("uq_installation_uuid")),
    )
    op.create_table(
        "garbage",
        sa.Column("id", ID, nullable=False),
        sa.Column("bucket", sa.String(length=10), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_garbage")),
    )
    op.create_index("ix_garbage_due", "garbage", ["next_at"])
    op.create_index("ix_garbage_key", "garbage", ["key"])
    op.create_table(
        "unknown_object",
        sa.Column("id", ID, nullable=False),
        sa.Column("bucket", sa.String(length=10), nullable=False),
        sa.Column("key", sa.String(length=1024), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unknown_object")),
    )
    op.create_index("ix_unknown_object_key", "unknown_object", ["key"])


def downgrade() -> None:
    for table in ("unknown_object", "garbage", "installation"):
        op.drop_table(table)
