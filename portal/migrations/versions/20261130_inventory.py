"""the inventory of stored objects, and the audit

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = sa.String(1024, collation="C").with_variant(sa.String(1024), "sqlite")  # in byte order, as buckets list keys
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COUNTERS = ("checked", "listed", "originals", "verified", "adopted", "list_requests", "head_requests", "get_requests")
DAMAGED, REPLACED = sa.text("damage IS NOT NULL"), sa.text("replaced_by IS NOT NULL")
COLUMNS = "INSERT INTO stored_object (bucket, key, kind, type, size_bytes, sha256, is_adopted, stored_at) "
EXTENSION = "substr(key, length(rtrim(key, 'abcdefghijklmnopqrstuvwxyz')) + 1)"
TYPE = f"CASE {EXTENSION} WHEN 'jpg' THEN 'image/jpeg' ELSE 'image/' || {EXTENSION} END"


def upgrade() -> None:
    """Every object that a row names gets its row; the audit takes the hashes that no row has yet."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "stored_object",
        sa.Column("bucket", sa.String(10), nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=True),
        sa.Column("sha256", sa.String(64), nullable=True),
        sa.Column("etag", sa.String(300), nullable=True),
        sa.Column("pipeline", sa.String(100), nullable=True),
        sa.Column("is_adopted", sa.Boolean(), nullable=False),
        sa.Column("stored_at", moment, nullable=False),
        sa.Column("verified_at", moment, nullable=True),
        sa.Column("damage", sa.String(10), nullable=True),
        sa.Column("damaged_at", moment, nullable=True),
        sa.Column("replaced_by", KEY, nullable=True),
        sa.Column("replaced_at", moment, nullable=True),
        sa.PrimaryKeyConstraint("bucket", "key", name="pk_stored_object"),
    )
    op.create_table(
        "audit_walk",
        sa.Column("id", ID, nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("is_scheduled", sa.Boolean(), nullable=False),
        sa.Column("started_at", moment, nullable=False),
        sa.Column("finished_at", moment, nullable=True),
        sa.Column("runner", sa.String(300), nullable=True),
        sa.Column("running_until", moment, nullable=True),
        sa.Column("phase", sa.String(10), nullable=False),
        sa.Column("bucket", sa.String(10), nullable=False),
        sa.Column("key", KEY, nullable=False),
        *[sa.Column(name, sa.Integer(), nullable=False) for name in COUNTERS],
        sa.Column("read_bytes", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.String(500), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit_walk"),
    )
    op.create_index("ix_audit_walk_started_at", "audit_walk", ["started_at"])
    op.create_table(
        "audit_finding",
        sa.Column("id", ID, nullable=False),
        sa.Column("walk_id", ID, nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("object", sa.String(10), nullable=False),
        sa.Column("bucket", sa.String(10), nullable=False),
        sa.Column("key", sa.String(1024), nullable=False),
        sa.Column("image_uuid", sa.Uuid(), nullable=True),
        sa.Column("attempted_at", moment, nullable=True),
        sa.Column("repaired", sa.Boolean(), nullable=False),
        sa.Column("how", sa.String(20), nullable=True),
        sa.Column("reason", sa.String(300), nullable=False),
        sa.Column("property_id", sa.BigInteger(), nullable=True),
        sa.Column("announced_at", moment, nullable=True),
        sa.Column("found_at", moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["walk_id"], ["audit_walk.id"], name="fk_audit_finding_walk_id_audit_walk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_audit_finding"),
        sa.UniqueConstraint("walk_id", "bucket", "key", name="uq_audit_finding_walk_id_bucket_key"),
    )
    for rows in (
        "SELECT 'uploads', original_key, 'original', type, size_bytes, sha256, false, CURRENT_TIMESTAMP FROM image",
        f"SELECT 'uploads', key, 'original', {TYPE}, NULL, NULL, false, CURRENT_TIMESTAMP"
        " FROM (SELECT original_key AS key FROM deleted_image) AS kept",
        "SELECT 'cdn', large_key, 'large', 'image/webp', large_size_bytes, NULL, false, CURRENT_TIMESTAMP"
        " FROM image WHERE large_key IS NOT NULL",
        "SELECT 'cdn', thumb_key, 'thumb', 'image/webp', NULL, NULL, false, CURRENT_TIMESTAMP"
        " FROM image WHERE thumb_key IS NOT NULL",
        "SELECT 'cdn', key, 'rendition', type, size_bytes, NULL, false, CURRENT_TIMESTAMP FROM rendition",
        f"SELECT 'cdn', key, 'copy', {TYPE}, min(delivered_bytes), NULL, false, CURRENT_TIMESTAMP"
        " FROM listing_image WHERE key IS NOT NULL GROUP BY key",
    ):
        op.execute(COLUMNS + rows)
    # Afterwards: filling indexes row by row takes longer, and a new column locks the images in PostgreSQL
    op.create_index(
        "ix_stored_object_damage", "stored_object", ["damage"], sqlite_where=DAMAGED, postgresql_where=DAMAGED
    )
    op.create_index(
        "ix_stored_object_replaced_by",
        "stored_object",
        ["replaced_by"],
        sqlite_where=REPLACED,
        postgresql_where=REPLACED,
    )
    op.create_index("ix_stored_object_verified_at", "stored_object", ["verified_at"])
    op.create_index("ix_stored_object_kind", "stored_object", ["kind", "size_bytes", "damage"])
    op.add_column("image", sa.Column("original_restored_at", moment, nullable=True))


def downgrade() -> None:
    op.drop_column("image", "original_restored_at")
    op.drop_table("audit_finding")
    op.drop_table("audit_walk")
    op.drop_table("stored_object")
