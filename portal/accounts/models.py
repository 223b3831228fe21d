"""Workspace, User, SignInLink, Session, ApiKey, IdempotencyRecord: columns, constraints, simple properties."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.accounts.plans import PLANS, Plan
from portal.db import Base, Id, Moment, PublicId, now
from portal.infra.encrypted import EncryptedText


class Workspace(Base):
    """A customer, who owns everything else."""

    __tablename__ = "workspace"

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    name: Mapped[str] = mapped_column(String(120), unique=True)
    plan_name: Mapped[str] = mapped_column(String(20), default="free")
    created_at: Mapped[Moment] = mapped_column(default=now)

    @property
    def plan(self) -> Plan:
        return PLANS[self.plan_name]


class User(Base):
    """A person who edits photos in the browser; admin or editor."""

    __tablename__ = "user"

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id", ondelete="CASCADE"), index=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)  # in lower case
    name: Mapped[str] = mapped_column(String(120), default="")
    is_admin: Mapped[bool] = mapped_column(default=False)
    password_hash: Mapped[str | None] = mapped_column(String(255))  # None: signs in by link only
    created_at: Mapped[Moment] = mapped_column(default=now)

    workspace: Mapped[Workspace] = relationship(lazy="joined", innerjoin=True)


class SignInLink(Base):
    """A link that signs a person in once."""

    __tablename__ = "sign_in_link"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[Moment]


class Session(Base):
    """A signed-in browser. Signing out deletes the row, which also invalidates a stolen cookie."""

    __tablename__ = "session"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[Moment] = mapped_column(default=now)
    expires_at: Mapped[Moment] = mapped_column(index=True)

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class ApiKey(Base):
    """A Bearer secret of a workspace; only its SHA-256 is stored, so a leaked database contains no usable key."""

    __tablename__ = "api_key"

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(120))
    hint: Mapped[str] = mapped_column(String(20))  # the first characters, to tell keys apart
    secret_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scope_words: Mapped[str] = mapped_column(String(255))  # separated by spaces
    is_admin: Mapped[bool] = mapped_column(default=False)
    made_by: Mapped[str] = mapped_column(String(254), default="")
    created_at: Mapped[Moment] = mapped_column(default=now)
    last_used_at: Mapped[Moment | None]
    expires_at: Mapped[Moment | None]
    revoked_at: Mapped[Moment | None]

    workspace: Mapped[Workspace] = relationship(lazy="joined", innerjoin=True)

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(self.scope_words.split())

    def is_valid(self, at: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > at)


class IdempotencyRecord(Base):
    """A write with an Idempotency-Key: running while `status` is None, then its answer."""

    __tablename__ = "idempotency_record"
    __table_args__ = (UniqueConstraint("workspace_id", "key"),)  # shared by all API keys of a workspace

    id: Mapped[Id]
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(255))  # as sent by the client
    fingerprint: Mapped[str] = mapped_column(String(64))  # SHA-256 of method, path and body
    claim: Mapped[UUID]  # of the run that holds the lease; an older run's answer matches no row
    claimed_at: Mapped[Moment] = mapped_column(index=True)
    lease_s: Mapped[int] = mapped_column(default=60)  # after it, the claim of a process that died is free
    answered_at: Mapped[Moment | None]
    status: Mapped[int | None]  # None while it runs
    body: Mapped[str | None] = mapped_column(EncryptedText)  # may contain a webhook's secret or a presigned URL
    location: Mapped[str | None] = mapped_column(String(500))
