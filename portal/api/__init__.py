"""The JSON APIs: one dialect per published contract, all calling the same domain functions."""

from flask import Response, request
from flask_openapi.openapi import OpenAPI

from portal.api import (
    dialects,
    docs,
    document,
    images_batch,
    imports,
    integrations,
    listings,
    manage_images,
    properties,
    usage,
    webhooks,
)


def init_app(app: OpenAPI) -> None:
    app.config.setdefault("API_CALLS_PER_KEY", "600 per minute")
    app.config.setdefault("API_CALLS_PER_STRANGER", "30 per minute")
    app.json.sort_keys = False  # type: ignore[attr-defined]  # keep the contracts' field order
    dialects.init_app(app)
    for routes in (properties, images_batch, imports, integrations, listings, usage, webhooks, manage_images):
        app.register_api(routes.blueprint)
    document.init_app(app)
    docs.init_app(app)
    app.after_request(_forbid_caching)


def _forbid_caching(response: Response) -> Response:
    """Responses are specific to an API key, so no cache may store them."""
    if request.path.startswith("/api/"):
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"  # presigned URLs contain credentials
    return response
