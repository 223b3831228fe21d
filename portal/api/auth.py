"""API authentication by Bearer key, with rate limits and scopes. Cookies and query strings are ignored."""

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
    """Require a valid API key with the scope for the request's method and, if `admins_only`, the admin role."""
    blueprint.before_request(lambda: _authorize(read if request.method in READS else write, admins_only))


def api_key() -> ApiKey:
    """Return the API key of this request."""
    return cast(ApiKey, g.api_key)


def workspace() -> Workspace:
    """Return the workspace of the API key. Every lookup must be limited to it."""
    return api_key().workspace


def _authorize(scope: str, admins_only: bool) -> None:
    """Rate-limit calls by API key, and calls without a valid key by client address."""
    try:
        g.api_key = access.key_of_secret(_secret())
    except Unauthorized:
        inbound.count(_setting("API_CALLS_PER_STRANGER"), f"api stranger {inbound.client_address()}")
        raise
    inbound.count(_setting("API_CALLS_PER_KEY"), f"api key {api_key().id}")
    access.require(g.api_key, scope, admin=admins_only)


def _secret() -> str:
    """Return the secret from the `Authorization: Bearer` header, the only accepted source."""
    sent = request.authorization
    if sent is None or sent.type != "bearer" or not sent.token:
        raise Unauthorized("An API key is required. Send it as Authorization: Bearer YOUR_KEY.")
    return sent.token


def _setting(name: str) -> str:
    return cast(str, current_app.config[name])
