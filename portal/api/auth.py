"""Who calls: a Bearer key, how often it may, and for what. Cookies and query strings count for nothing."""

from typing import cast

from flask import current_app, g, request
from flask_openapi.blueprint import APIBlueprint

from portal.accounts import access
from portal.accounts.models import ApiKey, Workspace
from portal.errors import Unauthorized
from portal.ratelimit import inbound

READ_SCOPE, WRITE_SCOPE, WEBHOOKS_SCOPE = "images:read", "images:write", "webhooks"
INTEGRATIONS_READ_SCOPE, INTEGRATIONS_WRITE_SCOPE = "integrations:read", "integrations:write"
READS = ("GET", "HEAD", "OPTIONS")


def guard(
    blueprint: APIBlueprint, read: str = READ_SCOPE, write: str = WRITE_SCOPE, *, admins_only: bool = False
) -> None:
    """Let nobody into a blueprint without a good key that has the scope for the method, and is an admin's."""
    blueprint.before_request(lambda: _admit(read if request.method in READS else write, admins_only))


def api_key() -> ApiKey:
    """The key of this request."""
    return cast(ApiKey, g.api_key)


def workspace() -> Workspace:
    """The workspace whose key this is: everything is found through it."""
    return api_key().workspace


def _admit(scope: str, admins_only: bool) -> None:
    """Count a call by its key, and one without a good key by its address (cases E12, H1 to H4)."""
    try:
        g.api_key = access.key_of_secret(_secret())
    except Unauthorized:
        inbound.count(_setting("API_CALLS_PER_STRANGER"), f"api stranger {inbound.client_address()}")
        raise
    inbound.count(_setting("API_CALLS_PER_KEY"), f"api key {api_key().id}")
    access.demand(g.api_key, scope, admin=admins_only)


def _secret() -> str:
    """The secret of `Authorization: Bearer`, and from nowhere else (case E4)."""
    sent = request.authorization
    if sent is None or sent.type != "bearer" or not sent.token:
        raise Unauthorized("This needs an API key: Authorization: Bearer YOUR_KEY.")
    return sent.token


def _setting(name: str) -> str:
    return cast(str, current_app.config[name])
