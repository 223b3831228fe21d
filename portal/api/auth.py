"""Who calls: a Bearer key, how often it may, and for what. Cookies and query strings count for nothing."""

from typing import cast

from flask import current_app, g, request
from flask_openapi.blueprint import APIBlueprint

from portal import limits
from portal.accounts import access
from portal.accounts.models import ApiKey, Workspace
from portal.errors import Unauthorized

READ_SCOPE, WRITE_SCOPE, WEBHOOKS_SCOPE = "images:read", "images:write", "webhooks"
READS = ("GET", "HEAD", "OPTIONS")


def guard(blueprint: APIBlueprint, read: str = READ_SCOPE, write: str = WRITE_SCOPE) -> None:
    """Let nobody into a blueprint without a good key that has the scope for the method."""
    blueprint.before_request(lambda: _admit(read if request.method in READS else write))


def api_key() -> ApiKey:
    """The key of this request."""
    return cast(ApiKey, g.api_key)


def workspace() -> Workspace:
    """The workspace whose key this is: everything is found through it."""
    return api_key().workspace


def _admit(scope: str) -> None:
    """Count a good key's calls by the key, others by their address, whatever X-Forwarded-For says (E12, H1 to H4)."""
    try:
        g.api_key = access.key_of_secret(_secret())
    except Unauthorized:
        limits.count("strangers", limits.client_address(), current_app.config["API_CALLS_PER_STRANGER"])
        raise
    limits.count("key", str(api_key().id), current_app.config["API_CALLS_PER_KEY"])
    access.demand(api_key(), scope)


def _secret() -> str:
    """The secret of `Authorization: Bearer`, and from nowhere else (case E4)."""
    sent = request.authorization
    if sent is None or sent.type != "bearer" or not sent.token:
        raise Unauthorized("This needs an API key: Authorization: Bearer YOUR_KEY.")
    return sent.token
