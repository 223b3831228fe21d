"""Who calls: a Bearer key, how often it may, and for what. Cookies and query strings count for nothing."""

from typing import cast

from flask import current_app, g, request
from flask_openapi.blueprint import APIBlueprint

from portal.accounts import access
from portal.accounts.models import ApiKey, Workspace
from portal.errors import Unauthorized
from portal.limits import limiter

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
    try:
        g.api_key = access.key_of_secret(_secret())
    except Unauthorized:
        _count_stranger()
        raise
    _count_call()
    access.demand(g.api_key, scope, admin=admins_only)


def _secret() -> str:
    """The secret of `Authorization: Bearer`, and from nowhere else (case E4)."""
    sent = request.authorization
    if sent is None or sent.type != "bearer" or not sent.token:
        raise Unauthorized("This needs an API key: Authorization: Bearer YOUR_KEY.")
    return sent.token


@limiter.shared_limit(lambda: _setting("API_CALLS_PER_STRANGER"), scope="api-strangers")
def _count_stranger() -> None:
    """Count a call without a good key by its address (case E12): a 429 where there were too many."""


@limiter.shared_limit(lambda: _setting("API_CALLS_PER_KEY"), scope="api", key_func=lambda: f"key:{api_key().id}")
def _count_call() -> None:
    """Count a call by its key, whatever X-Forwarded-For says (cases H1 to H4): a 429 past the allowance."""


def _setting(name: str) -> str:
    return cast(str, current_app.config[name])
