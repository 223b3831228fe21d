"""Endpoint and Delivery: columns and simple properties."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.db import Base, Id, Moment, NullableMoment, PublicId, now
from portal.infra.encrypted import EncryptedText

PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"


class Endpoint(Base):
    """A URL to which a workspace's events are sent."""

    __tablename__ = "webhook_endpoint"

    id: Mapped[Id]
    uuid: Mapped[PublicId]
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id", ondelete="CASCADE"), index=True)
    url: Mapped[str] = mapped_column(String(2048))
    event_words: Mapped[str] = mapped_column(String(255))  # separated by spaces
    secret: Mapped[str] = mapped_column(EncryptedText, deferred=True)  # decrypted only to sign, or to show it
    old_secret: Mapped[str | None] = mapped_column(EncryptedText, deferred=True)  # also signs, until …
    old_secret_until: Mapped[Moment | None]
    failing_since: Mapped[Moment | None]  # None: the last delivery succeeded
    disabled_at: Mapped[Moment | None]
    disabled_reason: Mapped[str | None] = mapped_column(String(300))
    created_at: Mapped[Moment] = mapped_column(default=now)

    @property
    def events(self) -> list[str]:
        return self.event_words.split()

    @property
    def secrets(self) -> list[str]:
        """The secrets to sign with now: both during a rotation."""
        both = [self.secret]
        if self.old_secret and self.old_secret_until and self.old_secret_until > now():
            both.append(self.old_secret)
        return both


class Delivery(Base):
    """One event for one endpoint. A pending row is itself the job."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("ix_webhook_delivery_due", "next_at"),
        Index(
            "ix_webhook_delivery_busy",
            "sending_until",
            sqlite_where=text("sending_until IS NOT NULL"),
            postgresql_where=text("sending_until IS NOT NULL"),
        ),
        Index("ix_webhook_delivery_endpoint", "endpoint_id", "id"),
        Index(
            "ix_webhook_delivery_open",  # few deliveries are pending or failed
            "endpoint_id",
            "id",
            sqlite_where=text("state != 'delivered'"),
            postgresql_where=text("state != 'delivered'"),
        ),
    )

    id: Mapped[Id]
    uuid: Mapped[PublicId]  # the webhook-id, the same for each attempt
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("webhook_endpoint.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(60))
    body: Mapped[str] = mapped_column(Text)  # the same bytes for each attempt
    state: Mapped[str] = mapped_column(String(10), default=PENDING)
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime | None] = mapped_column(NullableMoment, default=now)  # None unless pending
    sending_until: Mapped[Moment | None]  # lease of the worker that sends it
    status: Mapped[int | None]  # of the last response
    answer: Mapped[str | None] = mapped_column(Text)  # its first characters, or why there was none
    took_ms: Mapped[int | None]
    created_at: Mapped[Moment] = mapped_column(default=now)
    last_at: Mapped[Moment | None]  # of the last attempt

    endpoint: Mapped[Endpoint] = relationship(lazy="raise_on_sql", innerjoin=True)

    @property
    def failure(self) -> str:
        """Why the last attempt failed, as a sentence; `REASON` in portal/webhooks/activity.py is the same in SQL."""
        return f"The receiver answered {self.status}." if self.status else self.answer or ""

    @property
    def message_id(self) -> str:
        """The value of the webhook-id header, the same for each attempt."""
        return f"msg_{self.uuid.hex}"
