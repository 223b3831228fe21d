"""The web pages: full pages, and fragments for htmx. Contains no domain rules."""

from flask import Flask
from htmx_flask import Htmx

from portal.pages import (
    assets,
    bulk,
    compression,
    errors,
    filters,
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
    storage,
    upload_form,
    uploads,
    webhooks,
)


def init_app(app: Flask) -> None:
    """Register all pages and what they share."""
    Htmx(app)
    with_blueprint = (
        session,
        properties,
        gallery,
        order,
        bulk,
        rotation,
        imports,
        uploads,
        upload_form,
        settings,
        webhooks,
        storage,
    )
    for module in (*with_blueprint, listings, pictures, previews, integrations):
        app.register_blueprint(module.blueprint)
    for module in (security, compression, assets, guides, jobs, rq, filters, errors):
        module.init_app(app)
