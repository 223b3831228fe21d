"""What must hold before a web server or a worker starts; otherwise the operator gets a sentence."""

import logging

from sqlalchemy.exc import SQLAlchemyError

from portal import installation, migrations
from portal.db import db

ANOTHER_KEY = (
    "SECRET_KEY is not the key that the secrets in this database were encrypted with. Set that key. If it is lost, run "
    "`flask --app app adopt-secret-key`; then enter the PMS credentials again, and rotate the secrets of the webhooks."
)

log = logging.getLogger(__name__)


class StartupRefused(Exception):
    """Nothing was started. The message is for the operator."""


def demand_usable() -> None:
    """Check the tables and the key of the current app. Raises StartupRefused.

    A database that doesn't answer is no reason to refuse: it may come back.
    """
    try:
        if mismatch := migrations.mismatch(db.engine):
            raise StartupRefused(mismatch)
        if installation.has_another_key():
            raise StartupRefused(ANOTHER_KEY)
    except SQLAlchemyError as error:
        log.warning("database not checked: reason=%s", type(error).__name__)
    finally:
        db.engine.dispose()  # processes that are forked now must not share its connections
