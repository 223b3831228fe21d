"""The tables of the audit: AuditWalk, AuditFinding."""

from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Id, Moment, now
from portal.inventory import CHANGED, KEY, LENGTH, MISSING, TYPE

ORPHAN = "orphan"  # an object that no row names
FINDINGS = (MISSING, CHANGED, ORPHAN, TYPE, LENGTH)
COMPARE, REPAIR, ANNOUNCE, DONE = PHASES = ("compare", "repair", "announce", "done")


class AuditWalk(Base):
    """One audit: its options, how far it has come, and what it took."""

    __tablename__ = "audit_walk"
    __table_args__ = (Index("ix_audit_walk_started_at", "started_at"),)

    id: Mapped[Id]
    options: Mapped[dict[str, Any]] = mapped_column(JSON)  # lease.Options as plain values
    is_scheduled: Mapped[bool] = mapped_column(default=False)  # by the workers, not by the command
    started_at: Mapped[Moment] = mapped_column(default=now)
    finished_at: Mapped[Moment | None]
    runner: Mapped[str | None] = mapped_column(String(300))  # the host and process that runs it
    running_until: Mapped[Moment | None]  # the end of that process's lease
    phase: Mapped[str] = mapped_column(String(10), default=COMPARE)  # one of PHASES
    bucket: Mapped[str] = mapped_column(String(10), default="uploads")  # Bucket.role: where the comparison is
    key: Mapped[str] = mapped_column(KEY, default="")  # the last key that has been compared there
    checked: Mapped[int] = mapped_column(default=0)  # objects with a row that were compared
    listed: Mapped[int] = mapped_column(default=0)  # objects of this bucket that were listed, if old enough to judge
    originals: Mapped[int] = mapped_column(default=0)  # those of `checked` that are originals
    verified: Mapped[int] = mapped_column(default=0)  # those of `checked` whose bytes were compared
    adopted: Mapped[int] = mapped_column(default=0)  # rows that got their hash
    list_requests: Mapped[int] = mapped_column(default=0)
    head_requests: Mapped[int] = mapped_column(default=0)
    get_requests: Mapped[int] = mapped_column(default=0)
    read_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    message: Mapped[str | None] = mapped_column(String(500))  # why nothing was repaired, for the operator


class AuditFinding(Base):
    """An object that is not as its row has it, or has no row."""

    __tablename__ = "audit_finding"
    __table_args__ = (UniqueConstraint("walk_id", "bucket", "key"),)

    id: Mapped[Id]
    walk_id: Mapped[int] = mapped_column(ForeignKey("audit_walk.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(10))  # one of FINDINGS
    object: Mapped[str] = mapped_column(String(10))  # one of inventory.KINDS; of an orphan, as its key looks
    bucket: Mapped[str] = mapped_column(String(10))  # Bucket.role
    key: Mapped[str] = mapped_column(String(1024))
    image_uuid: Mapped[UUID | None]  # of a photo; None for an orphan or a copy
    attempted_at: Mapped[Moment | None]  # None: the repair has not been tried yet
    repaired: Mapped[bool] = mapped_column(default=False)
    how: Mapped[str | None] = mapped_column(String(20))  # from_original, from_pms, from_large
    reason: Mapped[str] = mapped_column(String(300), default="")  # why it was not repaired
    property_id: Mapped[int | None] = mapped_column(BigInteger)  # set if the repair changed what the property shows
    announced_at: Mapped[Moment | None]  # when property.updated was emitted for that property
    found_at: Mapped[Moment] = mapped_column(default=now)
