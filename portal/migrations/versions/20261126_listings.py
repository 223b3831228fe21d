"""listings

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


ALL_SCOPES = "images:read images:write webhooks"  # of a key with all scopes, before this revision


def upgrade() -> None:
    may_all = sa.text("UPDATE api_key SET scope_words = :now WHERE scope_words = :before")
    op.execute(
        may_all.bindparams(
            now="images:read images:write integrations:read integrations:write webhooks", before=ALL_SCOPES
        )
    )
    op.add_column("import_item", sa.Column("alt_text", sa.String(length=500), nullable=True))
    op.add_column("import_item", sa.Column("copy_key", sa.String(length=200), nullable=True))
    op.create_table(
        "integration_definition",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("enable_images_cdn", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspace.id"],
            name=op.f("fk_integration_definition_workspace_id_workspace"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration_definition")),
        sa.UniqueConstraint("uuid", name=op.f("uq_integration_definition_uuid")),
        sa.UniqueConstraint("workspace_id", "provider", name=op.f("uq_integration_definition_workspace_id_provider")),
    )
    op.create_table(
        "integration_account",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("definition_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("credentials", sa.Text(), nullable=True),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("syncing_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cursor", sa.String(length=500), nullable=True),
        sa.Column("has_begun_anew", sa.Boolean(), nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("uploads", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("synced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(length=300), nullable=True),
        sa.Column("note", sa.String(length=300), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["definition_id"],
            ["integration_definition.id"],
            name=op.f("fk_integration_account_definition_id_integration_definition"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration_account")),
        sa.UniqueConstraint("uuid", name=op.f("uq_integration_account_uuid")),
    )
    with op.batch_alter_table("integration_account", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_integration_account_definition_id"), ["definition_id"], unique=False)
        batch_op.create_index("ix_integration_account_due", ["next_at"], unique=False)

    op.create_table(
        "listing",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("external_id", sa.String(length=120), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("thumbnail_url", sa.String(length=2048), nullable=True),
        sa.Column("pictures", sa.JSON(), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("is_detected", sa.Boolean(), nullable=False),
        sa.Column("copied", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("has_news", sa.Boolean(), nullable=False),
        sa.Column("copied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("adopting_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("property_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["integration_account.id"],
            name=op.f("fk_listing_account_id_integration_account"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["property_id"], ["property.id"], name=op.f("fk_listing_property_id_property"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspace.id"], name=op.f("fk_listing_workspace_id_workspace"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_listing")),
        sa.UniqueConstraint("account_id", "external_id", name=op.f("uq_listing_account_id_external_id")),
        sa.UniqueConstraint("uuid", name=op.f("uq_listing_uuid")),
    )
    with op.batch_alter_table("listing", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_listing_property_id"), ["property_id"], unique=False)
        batch_op.create_index(
            "ix_listing_workspace",
            ["workspace_id", "id", "account_id", "copied", "failed", "waiting", "copied_at"],
            unique=False,
        )

    op.create_table(
        "sync_page",
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("listing_ids", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["integration_account.id"],
            name=op.f("fk_sync_page_account_id_integration_account"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "number", name=op.f("pk_sync_page")),
    )
    op.create_table(
        "listing_image",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("listing_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("type", sa.String(length=10), nullable=False),
        sa.Column("original_url", sa.String(length=2048), nullable=False),
        sa.Column("url_sha256", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=True),
        sa.Column("image_hash", sa.String(length=32), nullable=True),
        sa.Column("original_bytes", sa.Integer(), nullable=True),
        sa.Column("delivered_bytes", sa.Integer(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("etag", sa.String(length=300), nullable=True),
        sa.Column("last_modified", sa.String(length=100), nullable=True),
        sa.Column("last_checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure_reason", sa.String(length=300), nullable=True),
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fetching_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["listing_id"], ["listing.id"], name=op.f("fk_listing_image_listing_id_listing"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_listing_image")),
        sa.UniqueConstraint(
            "listing_id", "type", "url_sha256", name=op.f("uq_listing_image_listing_id_type_url_sha256")
        ),
        sa.UniqueConstraint("uuid", name=op.f("uq_listing_image_uuid")),
    )
    with op.batch_alter_table("listing_image", schema=None) as batch_op:
        batch_op.create_index("ix_listing_image_busy", ["fetching_until"], unique=False)
        batch_op.create_index("ix_listing_image_due", ["account_id", "next_at", "host"], unique=False)
        batch_op.create_index(
            "ix_listing_image_failed",
            ["listing_id", "superseded_at", "host", "failure_reason"],
            unique=False,
            sqlite_where=sa.text("failure_reason IS NOT NULL AND superseded_at IS NULL"),
            postgresql_where=sa.text("failure_reason IS NOT NULL AND superseded_at IS NULL"),
        )
        batch_op.create_index(batch_op.f("ix_listing_image_key"), ["key"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("listing_image", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_listing_image_key"))
        batch_op.drop_index(
            "ix_listing_image_failed",
            sqlite_where=sa.text("failure_reason IS NOT NULL AND superseded_at IS NULL"),
            postgresql_where=sa.text("failure_reason IS NOT NULL AND superseded_at IS NULL"),
        )
        batch_op.drop_index("ix_listing_image_due")
        batch_op.drop_index("ix_listing_image_busy")

    op.drop_table("listing_image")
    op.drop_table("sync_page")
    with op.batch_alter_table("listing", schema=None) as batch_op:
        batch_op.drop_index("ix_listing_workspace")
        batch_op.drop_index(batch_op.f("ix_listing_property_id"))

    op.drop_table("listing")
    with op.batch_alter_table("integration_account", schema=None) as batch_op:
        batch_op.drop_index("ix_integration_account_due")
        batch_op.drop_index(batch_op.f("ix_integration_account_definition_id"))

    op.drop_table("integration_account")
    op.drop_table("integration_definition")
    op.drop_column("import_item", "copy_key")
    op.drop_column("import_item", "alt_text")
