"""The web pages: full pages, and the fragments that htmx asks for. No rule lives here."""

from flask import Flask
from htmx_flask import Htmx

from portal.pages import (
    assets,
    compression,
    deletion,
    errors,
    gallery,
    imports,
    jobs,
    order,
    properties,
    rq,
    security,
    session,
    settings,
    uploads,
    webhooks,
    words,
)


def init_app(app: Flask) -> None:
    """Register every page and what all pages share."""
    Htmx(app)
    for entrance in (session, properties, gallery, order, deletion, imports, uploads, settings, webhooks):
        app.register_blueprint(entrance.blueprint)
    for part in (security, compression, assets, jobs, rq, words, errors):
        part.init_app(app)
