"""Assemble the application from settings, extensions, entrances and commands. The only file that knows every part."""

from pathlib import Path

from flask import Flask
from flask_openapi.openapi import OpenAPI

from portal import api, commands, config, delivery, health, pages
from portal.config import Settings
from portal.db import db, engine_options
from portal.infra import disk_cache, jobs, logs, storage
from portal.migrations import migrate
from portal.ratelimit import inbound, outbound

# A wheel has templates and static files inside the package; a checkout has them beside this file.
FOLDER = "portal/" if (Path(__file__).parent / "portal" / "templates").is_dir() else ""


def create_app(settings: Settings | None = None) -> Flask:
    """Create the application. Raises config.WrongSetting with a message for the operator."""
    settings = settings or config.from_environment()
    app = OpenAPI(__name__, doc_ui=False, template_folder=f"{FOLDER}templates", static_folder=f"{FOLDER}static")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=engine_options(settings),
        SECRET_KEY=settings.secret_key,
        MAX_CONTENT_LENGTH=1024 * 1024,  # forms and JSON; photos go straight to the bucket
        MAX_FORM_MEMORY_SIZE=512 * 1024,
        MAX_FORM_PARTS=200,
    )
    db.init_app(app)
    migrate.init_app(app, db)
    with app.app_context():
        config.use(settings)
        for each in (storage, disk_cache, jobs, outbound):
            each.connect(settings)
        for part in (logs, inbound, api, pages, delivery, health, commands):
            part.init_app(app)
    return app


if __name__ == "__main__":
    from portal import embedded

    embedded.main(create_app)
