"""Image delivery to browsers and CDNs, under /images and /cdn."""

from flask import Flask

from portal.delivery import shortcut
from portal.delivery.images import blueprint


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
    shortcut.init_app(app)
