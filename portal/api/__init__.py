"""The JSON entrance: one dialect for each published contract, over the same verbs."""

from flask import Response, request
from flask_openapi.openapi import OpenAPI

from portal.api import (
    dialects,
    docs,
    document,
    homes,
    images_batch,
    imports,
    integrations,
    listings,
    properties,
    usage,
    webhooks,
)


def init_app(app: OpenAPI) -> None:
    app.config.setdefault("API_CALLS_PER_KEY", "600 per minute")
    app.config.setdefault("API_CALLS_PER_STRANGER", "30 per minute")
    app.json.sort_keys = False  # type: ignore[attr-defined]  # answers in the order of the contract
    dialects.init_app(app)
    for routes in (homes, images_batch, imports, integrations, listings, usage, webhooks, properties):
        app.register_api(routes.blueprint)
    document.init_app(app)
    docs.init_app(app)
    app.after_request(_keep_nothing)


def _keep_nothing(response: Response) -> Response:
    """Every answer is for this key alone, so no cache between us keeps it (reliability.md, D17)."""
    if request.path.startswith("/api/"):
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"  # presigned URLs carry their credential (C15)
    return response
