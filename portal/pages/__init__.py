"""The web pages: full pages, and the fragments that htmx asks for. No rule lives here."""

from flask import Flask
from htmx_flask import Htmx

from portal.pages import (
    assets,
    bulk,
    compression,
    errors,
    gallery,
    guides,
    imports,
    integrations,
    jobs,
    listings,
    order,
    pictures,
    previews,
    properties,
    rotation,
    rq,
    security,
    session,
    settings,
    upload_form,
    uploads,
    webhooks,
    words,
)


def init_app(app: Flask) -> None:
    """Register every page and what all pages share."""
    Htmx(app)
    parts = (session, properties, gallery, order, bulk, rotation, imports, uploads, upload_form, settings, webhooks)
    for entrance in (*parts, listings, pictures, previews, integrations):
        app.register_blueprint(entrance.blueprint)
    for part in (security, compression, assets, guides, jobs, rq, words, errors):
        part.init_app(app)
