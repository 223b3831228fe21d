"""Settings → Webhooks: a workspace's endpoints and their deliveries.

Only admins may manage webhooks; everybody may see them, and resend deliveries, since that changes no settings.
"""

from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue

from portal.errors import Invalid
from portal.pages import live
from portal.pages.htmx import request
from portal.pages.session import admin_only, current_user, signed_in
from portal.webhooks import activity, delivery, endpoints, events
from portal.webhooks.activity import Call
from portal.webhooks.models import Endpoint

PAGE = 30
KNOWN = {"known": events.EVENTS, "fields": events.FIELDS}

blueprint = Blueprint("webhooks", __name__, url_prefix="/settings/webhooks")


class Row(NamedTuple):
    """A webhook with its most recent calls, newest last."""

    endpoint: Endpoint
    calls: list[Call]


@blueprint.get("")
@signed_in
def table() -> ResponseReturnValue:
    """Return the page of all webhooks; for htmx, its live list."""
    if request.htmx:
        return live.fragment(render_template("settings/_webhook_rows.html", rows=_rows()))
    return _all()


@blueprint.post("")
@admin_only
def create() -> ResponseReturnValue:
    """Create a webhook. Its secret is shown in this response only."""
    typed = _submitted()
    try:
        made = endpoints.create(current_user().workspace, typed["url"], typed["events"])
    except Invalid as error:
        return _all(typed=typed, wrong=_wrong(error)), 422
    return _all(made=made)


@blueprint.get("/<uuid:uuid>")
@signed_in
def one(uuid: UUID) -> ResponseReturnValue:
    """Return the page of a webhook; for htmx, the live part: its status and deliveries."""
    endpoint = _find(uuid)
    if request.htmx:
        return live.fragment(render_template("settings/_webhook_live.html", **_page_data(endpoint)))
    return _page(endpoint)


@blueprint.post("/<uuid:uuid>")
@admin_only
def update(uuid: UUID) -> ResponseReturnValue:
    endpoint, typed = _find(uuid), _submitted()
    try:
        endpoints.update(endpoint, url=typed["url"], wanted=typed["events"])
    except Invalid as error:
        return _page(endpoint, typed=typed, wrong=_wrong(error)), 422
    return redirect(f"/settings/webhooks/{uuid}", 303)


@blueprint.post("/<uuid:uuid>/switch")
@admin_only
def switch(uuid: UUID) -> ResponseReturnValue:
    """Switch a webhook on, which also clears its failures, or off."""
    return _back(endpoints.update(_find(uuid), enabled=request.form.get("on") == "1"))


@blueprint.post("/<uuid:uuid>/rotate")
@admin_only
def rotate(uuid: UUID) -> ResponseReturnValue:
    """Create a new secret, shown in this response only. The old one keeps signing for 24 hours."""
    return _page(endpoints.rotate_secret(_find(uuid)), is_new_secret=True)


@blueprint.post("/<uuid:uuid>/test")
@admin_only
def send_test(uuid: UUID) -> ResponseReturnValue:
    """Send a test event. Its delivery appears on the webhook's page."""
    endpoint = _find(uuid)
    endpoints.send_test(endpoint)
    return _back(endpoint)


@blueprint.get("/<uuid:uuid>/delete")
@admin_only
def confirm_delete(uuid: UUID) -> str:
    return render_template("settings/webhook_delete.html", endpoint=_find(uuid))


@blueprint.post("/<uuid:uuid>/delete")
@admin_only
def delete(uuid: UUID) -> ResponseReturnValue:
    endpoints.delete(_find(uuid))
    return redirect("/settings/webhooks", 303)


@blueprint.post("/<uuid:uuid>/deliveries/<uuid:delivery_uuid>/send-again")
@signed_in
def send_again(uuid: UUID, delivery_uuid: UUID) -> ResponseReturnValue:
    endpoint = _find(uuid)
    delivery.send_again(endpoints.find_delivery(endpoint, str(delivery_uuid)))
    return _back(endpoint)


def _find(uuid: UUID) -> Endpoint:
    return endpoints.find(current_user().workspace, str(uuid))


def _rows() -> list[Row]:
    """Return all webhooks with their calls, in two statements."""
    mine = endpoints.all_of(current_user().workspace)
    calls = activity.last_calls(mine)
    return [Row(endpoint, calls[endpoint.id]) for endpoint in mine]


def _all(**more: Any) -> str:
    """Return the panel of webhooks for htmx, otherwise the whole page."""
    template = "settings/_webhooks.html" if request.htmx else "settings/webhooks.html"
    return render_template(template, tab="webhooks", rows=_rows(), **KNOWN, **more)


def _page(endpoint: Endpoint, **more: Any) -> str:
    return render_template("settings/webhook.html", tab="webhooks", **KNOWN, **_page_data(endpoint), **more)


def _page_data(endpoint: Endpoint) -> dict[str, Any]:
    """Return the live part's data, in a fixed number of statements."""
    state, after = request.values.get("state") or None, request.values.get("after") or None
    page = activity.log(endpoint, state=state, after=after, limit=PAGE)
    return {
        "endpoint": endpoint,
        "calls": activity.last_calls([endpoint])[endpoint.id],
        "counts": activity.open_counts(endpoint),
        "deliveries": page.items,
        "state": state,
        "after": after,
        "here": _url(endpoint, state, after),
        "newest_url": _url(endpoint, state) if after else None,
        "next_url": _url(endpoint, state, page.next_cursor) if page.next_cursor else None,
    }


def _url(endpoint: Endpoint, state: str | None = None, after: str | None = None) -> str:
    query = urlencode({name: value for name, value in (("state", state), ("after", after)) if value})
    return f"/settings/webhooks/{endpoint.uuid}{'?' if query else ''}{query}"


def _back(endpoint: Endpoint) -> ResponseReturnValue:
    """Return the live part of the button (the list's or the page's) for htmx, otherwise redirect to the webhook."""
    if not request.htmx:
        return redirect(_url(endpoint, request.form.get("state"), request.form.get("after")), 303)
    if (request.htmx.target or "").endswith("webhook-rows"):
        return render_template("settings/_webhook_rows.html", rows=_rows())
    return render_template("settings/_webhook_live.html", **_page_data(endpoint))


def _submitted() -> dict[str, Any]:
    return {"url": request.form.get("url", "").strip(), "events": request.form.getlist("events")}


def _wrong(error: Invalid) -> dict[str, str]:
    """Return the message by field, or under `form` if no field is at fault."""
    field = error.code if error.code in ("url", "events") else "form"
    return {field: error.message}
