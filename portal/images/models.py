"""The tables of properties and their galleries: Property, Image, Rendition, Upload, ImportJob, ImportItem …"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.accounts.models import Workspace
from portal.db import Base, Id, Moment, NullableMoment, PublicId, now

PENDING, READY, FAILED = "pending", "ready", "failed"


class Property(Base):
    """A rental property with its gallery."""

    __tablename__ = "property"

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    address: Mapped[str] = mapped_column(String(300), default="")
    bedrooms: Mapped[int | None]
    bathrooms: Mapped[float | None]  # may be fractional: 1.5
    sleeps: Mapped[int | None]
    external_ref: Mapped[str] = mapped_column(String(120), default="")
    gallery_version: Mapped[int] = mapped_column(default=0)  # incremented by each change to the gallery
    created_at: Mapped[Moment] = mapped_column(default=now)
    updated_at: Mapped[Moment] = mapped_column(default=now, onupdate=now)

    workspace: Mapped[Workspace] = relationship(lazy="joined", innerjoin=True)


class Image(Base):
    """A photo in a gallery.

    `variants` is the state of its variants: pending, ready or failed. A pending row is the source of truth; the sweep
    enqueues its RQ job again if that is lost.
    """

    __tablename__ = "image"
    __table_args__ = (
        Index("ix_image_property_position", "property_id", "position"),
        Index(
            "uq_image_main",
            "property_id",
            unique=True,
            sqlite_where=text("is_main"),
            postgresql_where=text("is_main"),
        ),
        Index("ix_image_pending_since", "pending_since"),
        Index("ix_image_property_ready_at", "property_id", "ready_at"),  # for the jobs page's counts of today
        Index(
            "ix_image_open",
            "property_id",
            "variants",
            sqlite_where=text("variants != 'ready'"),
            postgresql_where=text("variants != 'ready'"),
        ),
    )

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    property_id: Mapped[int] = mapped_column(ForeignKey("property.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(200), unique=True)  # public, r2Key in the API; no object has this key
    original_key: Mapped[str] = mapped_column(String(200), unique=True)  # of the object in the uploads bucket
    file_name: Mapped[str] = mapped_column(String(255))
    type: Mapped[str] = mapped_column(String(20))
    size_bytes: Mapped[int]
    width: Mapped[int]  # as displayed, px
    height: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    alt_text: Mapped[str | None] = mapped_column(String(500))
    position: Mapped[int]
    is_main: Mapped[bool] = mapped_column(default=False)
    quarter_turns: Mapped[int] = mapped_column("turns", default=0)  # clockwise, relative to the original, 0 to 3
    version: Mapped[int] = mapped_column(default=1)  # incremented by each change to the pixels
    variants: Mapped[str] = mapped_column(String(10), default=PENDING)
    pending_since: Mapped[datetime | None] = mapped_column(NullableMoment, default=now)  # None unless pending
    started_at: Mapped[Moment | None]  # of the latest attempt
    attempts: Mapped[int] = mapped_column(default=0)  # incremented before the attempt, so crashes count too
    failure_reason: Mapped[str | None] = mapped_column(String(300))
    ready_at: Mapped[Moment | None]
    large_key: Mapped[str | None] = mapped_column(String(200), unique=True)
    thumb_key: Mapped[str | None] = mapped_column(String(200), unique=True)
    large_size_bytes: Mapped[int | None]
    placeholder: Mapped[int | None]  # the --lqip integer that the stylesheet decodes
    added_by: Mapped[str] = mapped_column(String(254), default="")  # a person's or an API key's name
    original_restored_at: Mapped[Moment | None]  # since then the original is a copy of the large variant
    created_at: Mapped[Moment] = mapped_column(default=now)

    property: Mapped[Property] = relationship(lazy="raise_on_sql", innerjoin=True)
    renditions: Mapped[list["Rendition"]] = relationship(lazy="raise", passive_deletes=True)


class ListedImage(NamedTuple):
    """The columns of an image that a list shows: cheaper to load than whole rows."""

    uuid: UUID
    key: str
    alt_text: str | None
    position: int
    failure_reason: str | None  # None unless the image has failed


class Rendition(Base):
    """An image in one width and type, rendered on demand and kept in the CDN bucket."""

    __tablename__ = "rendition"
    __table_args__ = (UniqueConstraint("image_id", "version", "width", "type"),)

    id: Mapped[Id]
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"))
    version: Mapped[int]  # of the image that it was rendered from
    width: Mapped[int]  # px, one of keys.RENDITION_WIDTHS
    type: Mapped[str] = mapped_column(String(20))
    key: Mapped[str] = mapped_column(String(200), unique=True)
    size_bytes: Mapped[int]


class Upload(Base):
    """A presigned PUT; after its confirm, a record of the image that it became."""

    __tablename__ = "upload"
    __table_args__ = (Index("ix_upload_unconfirmed", "confirmed_at", "expires_at"),)

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    property_id: Mapped[int] = mapped_column(ForeignKey("property.id", ondelete="CASCADE"), index=True)
    key: Mapped[str] = mapped_column(String(200), unique=True)
    file_name: Mapped[str] = mapped_column(String(255))
    content_type: Mapped[str] = mapped_column(String(20))
    size_bytes: Mapped[int]
    created_at: Mapped[Moment] = mapped_column(default=now)
    expires_at: Mapped[Moment]  # confirmable until then; the URL expires earlier
    confirmed_at: Mapped[Moment | None]
    image_uuid: Mapped[UUID | None]  # kept after the image is deleted: a key is used only once
    refusal: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))  # of its file: code and message


class ImportJob(Base):
    """A request to import URLs into a gallery."""

    __tablename__ = "import_job"

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    property_id: Mapped[int] = mapped_column(ForeignKey("property.id", ondelete="CASCADE"), index=True)
    month: Mapped[str] = mapped_column(String(7))  # the month whose budget it uses: "2026-11", UTC
    added_by: Mapped[str] = mapped_column(String(254), default="")
    created_at: Mapped[Moment] = mapped_column(default=now)
    completed_at: Mapped[Moment | None]  # None while an item is pending

    property: Mapped[Property] = relationship(lazy="raise_on_sql", innerjoin=True)
    items: Mapped[list["ImportItem"]] = relationship(
        order_by="ImportItem.position", lazy="raise", passive_deletes=True, back_populates="job"
    )


class ImportItem(Base):
    """One URL of an import. A pending row is due for dispatch at `next_at`."""

    __tablename__ = "import_item"
    __table_args__ = (
        UniqueConstraint("job_id", "position"),
        Index("ix_import_item_due", "next_at"),
        Index("ix_import_item_busy", "fetching_until"),
        Index(
            "ix_import_item_failed",
            "job_id",
            sqlite_where=text("state = 'failed'"),
            postgresql_where=text("state = 'failed'"),
        ),
    )

    id: Mapped[Id]
    job_id: Mapped[int] = mapped_column(ForeignKey("import_job.id", ondelete="CASCADE"))
    position: Mapped[int]  # in the request
    url: Mapped[str] = mapped_column(String(2048))
    host: Mapped[str] = mapped_column(String(255))  # concurrent fetches are limited per host
    alt_text: Mapped[str | None] = mapped_column(String(500))  # of the future image
    copy_key: Mapped[str | None] = mapped_column(String(200))  # of our copy in the CDN bucket, used instead of the URL
    state: Mapped[str] = mapped_column(String(10), default=PENDING)  # pending, ready (imported) or failed
    next_at: Mapped[datetime | None] = mapped_column(NullableMoment, default=now)  # None unless pending
    fetching_until: Mapped[Moment | None]  # end of the lease of the worker that fetches it
    attempts: Mapped[int] = mapped_column(default=0)
    code: Mapped[str | None] = mapped_column(String(40))  # why it failed, for programs
    message: Mapped[str | None] = mapped_column(String(300))  # and for people
    size_bytes: Mapped[int] = mapped_column(default=0)
    image_uuid: Mapped[UUID | None]

    job: Mapped[ImportJob] = relationship(lazy="raise_on_sql", innerjoin=True, back_populates="items")


class ImportBudget(Base):
    """How many images a workspace has imported or reserved in a calendar month."""

    __tablename__ = "import_budget"
    __table_args__ = (UniqueConstraint("workspace_id", "month"),)

    id: Mapped[Id]
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id", ondelete="CASCADE"))
    month: Mapped[str] = mapped_column(String(7))
    used: Mapped[int] = mapped_column(default=0)


class DeletedImage(Base):
    """A deleted image that can still be restored: its row as plain data; its original stays in the uploads bucket."""

    __tablename__ = "deleted_image"

    id: Mapped[Id]
    token: Mapped[UUID] = mapped_column(index=True)  # shared by all images of one deletion
    property_id: Mapped[int] = mapped_column(ForeignKey("property.id", ondelete="CASCADE"), index=True)
    original_key: Mapped[str] = mapped_column(String(200), unique=True)
    columns: Mapped[dict[str, Any]] = mapped_column(JSON)
    expires_at: Mapped[Moment] = mapped_column(index=True)
