"""Webhook endpoints: create, change, delete, rotate the secret and send a test; always scoped to a workspace."""

import base64
import secrets
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select

from portal import remote
from portal.accounts.models import Workspace
from portal.db import as_uuid, db, now
from portal.errors import Conflict, Invalid, NotFound
from portal.webhooks import events
from portal.webhooks.models import Delivery, Endpoint
from portal.work import lock, work

SECRET_BYTES = 32  # Standard Webhooks: 24 to 64 random bytes
OLD_SECRET_SIGNS_FOR = timedelta(hours=24)
MAX_ENDPOINTS = 20  # per workspace; each event becomes a row for each of them
MAX_URL_LENGTH = 2048


def create(workspace: Workspace, url: str, wanted: Sequence[str]) -> Endpoint:
    """Create an endpoint with a new secret. Raises Invalid for a URL that may not be called, or an unknown event."""
    words = _checked(url, wanted)
    with work():
        lock(workspace)
        if len(all_of(workspace)) >= MAX_ENDPOINTS:
            raise Invalid(f"A workspace can have at most {MAX_ENDPOINTS} webhooks.", code="too_many_webhooks")
        endpoint = Endpoint(workspace_id=workspace.id, url=url, event_words=words, secret=_new_secret())
        db.session.add(endpoint)
    return endpoint


def all_of(workspace: Workspace) -> list[Endpoint]:
    """Return a workspace's endpoints, newest first."""
    query = select(Endpoint).where(Endpoint.workspace_id == workspace.id)
    return list(db.session.scalars(query.order_by(Endpoint.id.desc())))


def find(workspace: Workspace, uuid: str) -> Endpoint:
    """Return an endpoint of this workspace. Raises NotFound, also for another workspace's endpoint."""
    query = select(Endpoint).where(Endpoint.workspace_id == workspace.id, Endpoint.uuid == as_uuid(uuid))
    endpoint = db.session.scalar(query)
    if endpoint is None:
        raise _absent()
    return endpoint


def update(
    endpoint: Endpoint,
    *,
    url: str | None = None,
    wanted: Sequence[str] | None = None,
    enabled: bool | None = None,
) -> Endpoint:
    """Change the given values. Enabling clears the failures that switched it off. Raises Invalid, NotFound."""
    words = _checked(endpoint.url if url is None else url, endpoint.events if wanted is None else wanted)
    with work():
        _hold(endpoint)
        endpoint.url, endpoint.event_words = url or endpoint.url, words
        if enabled and endpoint.disabled_at:
            endpoint.disabled_at = endpoint.disabled_reason = endpoint.failing_since = None
        if enabled is False and not endpoint.disabled_at:
            endpoint.disabled_at, endpoint.disabled_reason = now(), "Switched off manually."
    return endpoint


def delete(endpoint: Endpoint) -> None:
    """Delete an endpoint and its deliveries. Raises NotFound if it is already gone."""
    with work():
        _hold(endpoint)
        db.session.delete(endpoint)


def rotate_secret(endpoint: Endpoint) -> Endpoint:
    """Replace the secret. The old one also signs for a day, so that receivers can switch without losing deliveries."""
    with work():
        _hold(endpoint)
        endpoint.old_secret, endpoint.old_secret_until = endpoint.secret, now() + OLD_SECRET_SIGNS_FOR
        endpoint.secret = _new_secret()
    return endpoint


def send_test(endpoint: Endpoint) -> Delivery:
    """Send a test event. Raises NotFound, and Conflict if the endpoint is switched off."""
    with work() as w:
        _hold(endpoint)
        if endpoint.disabled_at:
            raise Conflict("This webhook is switched off. Switch it on first.", code="webhook_off")
        return events.send(w, endpoint, events.TEST, {"message": "This is a test."})


def deliveries(endpoint: Endpoint, limit: int = 50) -> list[Delivery]:
    """Return an endpoint's deliveries, newest first."""
    query = select(Delivery).where(Delivery.endpoint_id == endpoint.id)
    return list(db.session.scalars(query.order_by(Delivery.id.desc()).limit(limit)))


def find_delivery(endpoint: Endpoint, uuid: str) -> Delivery:
    """Return a delivery of this endpoint. Raises NotFound."""
    query = select(Delivery).where(Delivery.endpoint_id == endpoint.id, Delivery.uuid == as_uuid(uuid))
    delivery = db.session.scalar(query)
    if delivery is None:
        raise NotFound("There is no such delivery.", code="delivery_not_found")
    return delivery


def _checked(url: str, wanted: Sequence[str]) -> str:
    if len(url) > MAX_URL_LENGTH:
        raise Invalid(f"A URL can have at most {MAX_URL_LENGTH} characters.", code="url")
    try:
        remote.check_target(url)
    except remote.RequestRefused as refused:
        raise Invalid(refused.message, code="url") from refused
    unknown = [word for word in wanted if word not in events.EVENTS]
    if unknown or not wanted:
        raise Invalid(f"Choose one or more of these events: {', '.join(events.EVENTS)}.", code="events")
    return " ".join(sorted(set(wanted)))


def _hold(endpoint: Endpoint) -> None:
    if not lock(endpoint):
        raise _absent()


def _absent() -> NotFound:
    return NotFound("There is no such webhook.", code="webhook_not_found")


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
