"""IntegrationDefinition, IntegrationAccount, SyncPage, Listing, ListingImage: columns and constraints."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint, event, select, text
from sqlalchemy.orm import (
    Mapped,
    ORMExecuteState,
    Session,
    joinedload,
    mapped_column,
    relationship,
    with_loader_criteria,
)

from portal.accounts.models import Workspace
from portal.db import Base, Id, Moment, NullableMoment, PublicId, now
from portal.infra.encrypted import EncryptedText

THUMBNAIL, GALLERY = "THUMBNAIL", "GALLERY"  # Image CDN contract, "Data Model"

VERIFY_EVERY = timedelta(days=7)  # the bytes behind a URL may change


class IntegrationDefinition(Base):
    """A provider in a workspace, with its Image CDN switch."""

    __tablename__ = "integration_definition"
    __table_args__ = (UniqueConstraint("workspace_id", "provider"),)

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id", ondelete="CASCADE"))
    provider: Mapped[str] = mapped_column(String(20))  # "HOSTAWAY"
    enable_images_cdn: Mapped[bool] = mapped_column(default=False)  # off by default: Image CDN contract
    created_at: Mapped[Moment] = mapped_column(default=now)
    updated_at: Mapped[Moment] = mapped_column(default=now, onupdate=now)

    workspace: Mapped[Workspace] = relationship(lazy="joined", innerjoin=True)


class IntegrationAccount(Base):
    """One set of credentials of a provider, and the state of its sync. A due row is itself the job."""

    __tablename__ = "integration_account"
    __table_args__ = (Index("ix_integration_account_due", "next_at"),)

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    definition_id: Mapped[int | None] = mapped_column(
        ForeignKey("integration_definition.id", ondelete="CASCADE"), index=True
    )
    removed_at: Mapped[Moment | None] = mapped_column(index=True)  # if set, the account and its listings are hidden
    name: Mapped[str] = mapped_column(String(120))
    # Deferred, so that loading an account doesn't decrypt its secrets
    credentials: Mapped[str | None] = mapped_column(EncryptedText, deferred=True)  # JSON; None: of another SECRET_KEY
    token: Mapped[str | None] = mapped_column(EncryptedText, deferred=True)  # some PMSs issue only a few a day
    host: Mapped[str] = mapped_column(String(255))  # concurrent requests to a host are limited
    next_at: Mapped[datetime | None] = mapped_column(NullableMoment, default=now)  # of the next sync or page
    syncing_until: Mapped[Moment | None]  # lease of the worker that fetches a page
    started_at: Mapped[Moment | None]  # of the running sync; None between syncs
    cursor: Mapped[str | None] = mapped_column(String(500))  # of the next page
    # The PMS rejected a cursor and the sync started over; the second time it fails
    has_restarted: Mapped[bool] = mapped_column("has_begun_anew", default=False)
    passes: Mapped[int] = mapped_column(default=0, server_default="0")  # completed in the running or last sync
    pages: Mapped[int] = mapped_column(default=0)  # stored in the running or last sync
    found: Mapped[int] = mapped_column(default=0)  # distinct listings on these pages
    total: Mapped[int | None]  # listings according to the PMS, if it counts them
    withheld: Mapped[int | None]  # listings counted but not returned, as of the last sync that could tell
    uploads: Mapped[int] = mapped_column(default=0)  # pictures waiting when the last sync started, or new since
    attempts: Mapped[int] = mapped_column(default=0)  # at the next page
    failures: Mapped[int] = mapped_column(default=0)  # consecutive failed syncs
    synced_at: Mapped[Moment | None]  # end of the last complete sync
    error: Mapped[str | None] = mapped_column(String(300))  # why the last sync failed
    note: Mapped[str | None] = mapped_column(String(300))  # a sentence for people: an oddity in its data
    created_at: Mapped[Moment] = mapped_column(default=now)

    definition: Mapped[IntegrationDefinition] = relationship(lazy="joined", innerjoin=True)


class SyncPage(Base):
    """The listings on a page of the running sync. When the sync is complete, listings on no page are missing."""

    __tablename__ = "sync_page"

    account_id: Mapped[int] = mapped_column(ForeignKey("integration_account.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    pass_number: Mapped[int] = mapped_column(default=0, server_default="0")  # from 0; `number` counts on across passes
    listing_ids: Mapped[list[int]] = mapped_column(JSON)
    total: Mapped[int | None]  # listings according to this page


class Listing(Base):
    """A property as the PMS describes it."""

    __tablename__ = "listing"
    __table_args__ = (
        UniqueConstraint("account_id", "external_id"),
        # A covering index for counting and filtering: the rows hold whole galleries
        Index("ix_listing_workspace", "workspace_id", "id", "account_id", "copied", "failed", "waiting", "copied_at"),
    )

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id", ondelete="CASCADE"))  # of its account
    account_id: Mapped[int] = mapped_column(ForeignKey("integration_account.id", ondelete="CASCADE"))
    external_id: Mapped[str] = mapped_column(String(120))
    name: Mapped[str] = mapped_column(String(300))
    thumbnail_url: Mapped[str | None] = mapped_column(String(2048))
    pictures: Mapped[list[dict[str, Any]]] = mapped_column(JSON)  # {url, description, …} in the PMS's order
    content_sha256: Mapped[str] = mapped_column(String(64))  # of all PMS data: an unchanged listing costs no write
    is_detected: Mapped[bool] = mapped_column(default=False)  # its ListingImages match this content
    copied: Mapped[int] = mapped_column(default=0)  # pictures; cached, see portal/listings/counts.py
    failed: Mapped[int] = mapped_column(default=0)
    waiting: Mapped[int] = mapped_column(default=0)
    missing_since: Mapped[Moment | None]  # since a complete sync did not see it; the second one in a row removes it
    has_new_copies: Mapped[bool] = mapped_column("has_news", default=False)  # since the last event
    copied_at: Mapped[Moment | None]  # of that event: when the last new picture was copied
    property_id: Mapped[int | None] = mapped_column(ForeignKey("property.id", ondelete="SET NULL"), index=True)
    # Lease of the call that imports its pictures into that property
    creating_until: Mapped[Moment | None] = mapped_column("adopting_until")
    created_at: Mapped[Moment] = mapped_column(default=now)
    updated_at: Mapped[Moment] = mapped_column(default=now, onupdate=now)

    account: Mapped[IntegrationAccount] = relationship(lazy="raise", innerjoin=True)


class ListingImage(Base):
    """The link from a PMS URL to its CDN copy (Image CDN contract, "Data Model"). A due row is itself the job."""

    __tablename__ = "listing_image"
    __table_args__ = (
        UniqueConstraint("listing_id", "type", "url_sha256"),
        Index("ix_listing_image_due", "account_id", "next_at", "host"),
        Index("ix_listing_image_busy", "fetching_until"),
        Index(
            "ix_listing_image_failed",  # covers the queries for failures: why, and where
            "listing_id",
            "superseded_at",  # always NULL here; makes SQLite prefer this index
            "host",
            "failure_reason",
            sqlite_where=text("failure_reason IS NOT NULL AND superseded_at IS NULL"),
            postgresql_where=text("failure_reason IS NOT NULL AND superseded_at IS NULL"),
        ),
    )

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    account_id: Mapped[int] = mapped_column(BigInteger)  # of its listing, for the Image CDN switch
    listing_id: Mapped[int] = mapped_column(ForeignKey("listing.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(10))  # THUMBNAIL or GALLERY
    original_url: Mapped[str] = mapped_column(String(2048))  # verbatim, as last returned by the PMS
    url_sha256: Mapped[str] = mapped_column(String(64))  # of the URL without signature parameters
    host: Mapped[str] = mapped_column(String(255))  # concurrent downloads from a host are limited
    position: Mapped[int]  # from 0; 0 for a thumbnail
    key: Mapped[str | None] = mapped_column(String(200), index=True)  # of the copy; None until there is one
    image_hash: Mapped[str | None] = mapped_column(String(32))  # MD5 of the download, as the Image CDN contract has it
    original_bytes: Mapped[int | None]
    delivered_bytes: Mapped[int | None]
    width: Mapped[int | None]  # as displayed, px
    height: Mapped[int | None]
    etag: Mapped[str | None] = mapped_column(String(300))  # the PMS's, for conditional requests
    last_modified: Mapped[str | None] = mapped_column(String(100))
    last_checked_at: Mapped[Moment | None]  # when the bytes were last verified
    failure_reason: Mapped[str | None] = mapped_column(String(300))
    superseded_at: Mapped[Moment | None]  # since when the PMS no longer lists this URL
    next_at: Mapped[datetime | None] = mapped_column(NullableMoment, default=now)  # when to fetch or verify it
    fetching_until: Mapped[Moment | None]  # lease of the worker that fetches it
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[Moment] = mapped_column(default=now)
    updated_at: Mapped[Moment] = mapped_column(default=now, onupdate=now)

    listing: Mapped[Listing] = relationship(lazy="raise", innerjoin=True)


WITH_ACCOUNT = joinedload(Listing.account)
WITH_REMOVED = {"with_removed": True}
"""Execution options of a query that includes removed accounts and their listings."""

_accounts = IntegrationAccount.__table__
_ACCOUNT_NOT_REMOVED = with_loader_criteria(
    IntegrationAccount, IntegrationAccount.removed_at.is_(None), include_aliases=True
)
_LISTING_NOT_REMOVED = with_loader_criteria(
    Listing,
    lambda listing: listing.account_id.not_in(select(_accounts.c.id).where(_accounts.c.removed_at.is_not(None))),
    include_aliases=True,
)


@event.listens_for(Session, "do_orm_execute")
def _hide_removed(state: ORMExecuteState) -> None:
    """Hide removed accounts and their listings from every SELECT on one of _MODELS, unless WITH_REMOVED is set.

    A SELECT that starts from another table, and each part of a UNION, must filter explicitly.
    """
    is_own_model = state.bind_mapper is not None and state.bind_mapper.class_ in _MODELS
    if is_own_model and state.is_select and not state.is_column_load and "with_removed" not in state.execution_options:
        state.statement = state.statement.options(_ACCOUNT_NOT_REMOVED, _LISTING_NOT_REMOVED)


_MODELS = (IntegrationDefinition, IntegrationAccount, Listing, ListingImage)


def prefix_of(workspace_uuid: UUID, listing_uuid: UUID) -> str:
    """Return `{workspaceId}/{listingId}/`, which starts the key of every copy of a listing.

    Image CDN contract, "Image Storage Structure".
    """
    return f"{workspace_uuid}/{listing_uuid}/"
