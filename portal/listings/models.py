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
from portal.db import Base, Id, Moment, MomentOrNever, PublicId, now
from portal.infra.encrypted import EncryptedText

THUMBNAIL, GALLERY = "THUMBNAIL", "GALLERY"  # seed A's enum

VERIFY_EVERY = timedelta(days=7)  # the bytes behind one URL may change


class IntegrationDefinition(Base):
    """A provider in a workspace; carries the Image CDN's switch."""

    __tablename__ = "integration_definition"
    __table_args__ = (UniqueConstraint("workspace_id", "provider"),)

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id", ondelete="CASCADE"))
    provider: Mapped[str] = mapped_column(String(20))  # "HOSTAWAY"
    enable_images_cdn: Mapped[bool] = mapped_column(default=False)  # seed A: "disabled by default"
    created_at: Mapped[Moment] = mapped_column(default=now)
    updated_at: Mapped[Moment] = mapped_column(default=now, onupdate=now)

    workspace: Mapped[Workspace] = relationship(lazy="joined", innerjoin=True)


class IntegrationAccount(Base):
    """One set of credentials under a definition, and how its sync stands. A due row is itself the job."""

    __tablename__ = "integration_account"
    __table_args__ = (Index("ix_integration_account_due", "next_at"),)

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    definition_id: Mapped[int | None] = mapped_column(
        ForeignKey("integration_definition.id", ondelete="CASCADE"), index=True
    )
    removed_at: Mapped[Moment | None] = mapped_column(index=True)  # nobody sees it or its listings from then on
    name: Mapped[str] = mapped_column(String(120))
    # Deferred: to load an account is not to decrypt its secrets.
    credentials: Mapped[str | None] = mapped_column(
        EncryptedText, deferred=True
    )  # JSON object; None: SECRET_KEY has changed
    token: Mapped[str | None] = mapped_column(
        EncryptedText, deferred=True
    )  # what the PMS let us in with: few are given a day
    host: Mapped[str] = mapped_column(String(255))  # few are asked at a time on one host
    next_at: Mapped[datetime | None] = mapped_column(MomentOrNever, default=now)  # when to sync, or ask on
    syncing_until: Mapped[Moment | None]  # the lease of the worker that asks for a page
    started_at: Mapped[Moment | None]  # of the sync under way; None between syncs
    cursor: Mapped[str | None] = mapped_column(String(500))  # of the page that comes next
    has_begun_anew: Mapped[bool] = mapped_column(default=False)  # since the PMS forgot its cursor: once, then it fails
    passes: Mapped[int] = mapped_column(default=0, server_default="0")  # completed in this sync, or the last one
    pages: Mapped[int] = mapped_column(default=0)  # stored in the sync under way, or the last one
    found: Mapped[int] = mapped_column(default=0)  # distinct listings on these pages
    total: Mapped[int | None]  # listings there are, where the PMS says it
    withheld: Mapped[int | None]  # listings that it counts but does not return, as of the last sync that could tell
    uploads: Mapped[int] = mapped_column(default=0)  # pictures that waited when the last sync began, or are new since
    attempts: Mapped[int] = mapped_column(default=0)  # of the page that comes next
    failures: Mapped[int] = mapped_column(default=0)  # syncs that failed since the last good one
    synced_at: Mapped[Moment | None]  # when the last whole sync ended
    error: Mapped[str | None] = mapped_column(String(300))  # why the last sync failed
    note: Mapped[str | None] = mapped_column(String(300))  # what was odd in it
    created_at: Mapped[Moment] = mapped_column(default=now)

    definition: Mapped[IntegrationDefinition] = relationship(lazy="joined", innerjoin=True)


class SyncPage(Base):
    """Which listings a page of the sync under way had: when that is whole, those on no page are missing."""

    __tablename__ = "sync_page"

    account_id: Mapped[int] = mapped_column(ForeignKey("integration_account.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    pass_number: Mapped[int] = mapped_column(default=0, server_default="0")  # from 0; `number` counts on across passes
    listing_ids: Mapped[list[int]] = mapped_column(JSON)
    total: Mapped[int | None]  # listings there are, according to this page


class Listing(Base):
    """A property as the PMS describes it."""

    __tablename__ = "listing"
    __table_args__ = (
        UniqueConstraint("account_id", "external_id"),
        # Wide enough to be all that counting and filtering read: the rows themselves hold whole galleries
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
    content_sha256: Mapped[str] = mapped_column(String(64))  # of all the PMS says: what is the same costs no write
    is_detected: Mapped[bool] = mapped_column(default=False)  # its ListingImages stand for this very content
    copied: Mapped[int] = mapped_column(default=0)  # how many of its pictures are; as of the last recount()
    failed: Mapped[int] = mapped_column(default=0)
    waiting: Mapped[int] = mapped_column(default=0)
    missing_since: Mapped[Moment | None]  # a whole sync did not see it; the next one that doesn't removes it
    has_news: Mapped[bool] = mapped_column(default=False)  # copies changed since the last event
    copied_at: Mapped[Moment | None]  # of that event: since when nothing of what was new waits any more
    property_id: Mapped[int | None] = mapped_column(ForeignKey("property.id", ondelete="SET NULL"), index=True)
    # The lease of whoever imports its pictures into that property
    creating_until: Mapped[Moment | None] = mapped_column("adopting_until")
    created_at: Mapped[Moment] = mapped_column(default=now)
    updated_at: Mapped[Moment] = mapped_column(default=now, onupdate=now)

    account: Mapped[IntegrationAccount] = relationship(lazy="raise", innerjoin=True)


class ListingImage(Base):
    """The link from a PMS URL to its CDN copy (seed A, "Data Model"). A due row is itself the job."""

    __tablename__ = "listing_image"
    __table_args__ = (
        UniqueConstraint("listing_id", "type", "url_sha256"),
        Index("ix_listing_image_due", "account_id", "next_at", "host"),
        Index("ix_listing_image_busy", "fetching_until"),
        Index(
            "ix_listing_image_failed",  # with all that is asked of what failed: why, and where
            "listing_id",
            "superseded_at",  # always none here; with it SQLite takes this index and no other
            "host",
            "failure_reason",
            sqlite_where=text("failure_reason IS NOT NULL AND superseded_at IS NULL"),
            postgresql_where=text("failure_reason IS NOT NULL AND superseded_at IS NULL"),
        ),
    )

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    account_id: Mapped[int] = mapped_column(BigInteger)  # that its listing came with: on whose switch it waits
    listing_id: Mapped[int] = mapped_column(ForeignKey("listing.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(10))  # THUMBNAIL or GALLERY
    original_url: Mapped[str] = mapped_column(String(2048))  # verbatim, as the PMS said it last
    url_sha256: Mapped[str] = mapped_column(String(64))  # of the URL without what signs it (contract.md, A7)
    host: Mapped[str] = mapped_column(String(255))  # few are fetched from one host at a time
    position: Mapped[int]  # from 0; 0 for a thumbnail
    key: Mapped[str | None] = mapped_column(String(200), index=True)  # of the copy; None: there is none yet
    image_hash: Mapped[str | None] = mapped_column(String(32))  # MD5 of what was downloaded: seed A's, and only that
    original_bytes: Mapped[int | None]
    delivered_bytes: Mapped[int | None]
    width: Mapped[int | None]  # as displayed, px
    height: Mapped[int | None]
    etag: Mapped[str | None] = mapped_column(String(300))  # the PMS's, for asking whether it has changed
    last_modified: Mapped[str | None] = mapped_column(String(100))
    last_checked_at: Mapped[Moment | None]  # when the bytes were last verified (A19)
    failure_reason: Mapped[str | None] = mapped_column(String(300))
    superseded_at: Mapped[Moment | None]  # since when the PMS doesn't name this URL any more (A5, A8)
    next_at: Mapped[datetime | None] = mapped_column(MomentOrNever, default=now)  # when to fetch, or verify
    fetching_until: Mapped[Moment | None]  # the lease of the worker that fetches it
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[Moment] = mapped_column(default=now)
    updated_at: Mapped[Moment] = mapped_column(default=now, onupdate=now)

    listing: Mapped[Listing] = relationship(lazy="raise", innerjoin=True)


WITH_ACCOUNT = joinedload(Listing.account)
WITH_REMOVED = {"with_removed": True}
"""Execution options of a query that wants removed accounts and their listings too."""

_accounts = IntegrationAccount.__table__
_ACCOUNT_IS_THERE = with_loader_criteria(
    IntegrationAccount, IntegrationAccount.removed_at.is_(None), include_aliases=True
)
_LISTING_IS_THERE = with_loader_criteria(
    Listing,
    lambda listing: listing.account_id.not_in(select(_accounts.c.id).where(_accounts.c.removed_at.is_not(None))),
    include_aliases=True,
)


@event.listens_for(Session, "do_orm_execute")
def _hide_what_was_removed(state: ORMExecuteState) -> None:
    """Hide removed accounts and their listings from every SELECT that starts from one of _OURS, unless WITH_REMOVED.

    One that starts from another table, and each part of a UNION, must say it itself.
    """
    is_ours = state.bind_mapper is not None and state.bind_mapper.class_ in _OURS
    if is_ours and state.is_select and not state.is_column_load and "with_removed" not in state.execution_options:
        state.statement = state.statement.options(_ACCOUNT_IS_THERE, _LISTING_IS_THERE)


_OURS = (IntegrationDefinition, IntegrationAccount, Listing, ListingImage)


def prefix_of(workspace_uuid: UUID, listing_uuid: UUID) -> str:
    """`{workspaceId}/{listingId}/`: what all copies of a listing begin with (seed A, "Image Storage Structure")."""
    return f"{workspace_uuid}/{listing_uuid}/"
