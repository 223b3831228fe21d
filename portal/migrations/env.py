"""Alembic's environment: the app's engine and tables, with all steps in one transaction."""

from typing import Any, Literal

from alembic import context
from flask import current_app
from sqlalchemy import func, select

from portal.db import UtcDateTime, db, writing

LOCK_ID = 0x66726F6E74616765  # any number that no other program locks in this database: "frontage"


def render_item(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """Render our column types as SQLAlchemy's own, so that migrations don't depend on the code."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def migrate() -> None:
    engine = db.engine
    token = writing.set(True)  # on SQLite, concurrent starts run one after the other
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":  # of two machines that start together, the second one waits
                connection.execute(select(func.pg_advisory_xact_lock(LOCK_ID)))
            options = current_app.extensions["migrate"].configure_args
            context.configure(
                connection=connection,
                target_metadata=db.metadata,
                render_item=render_item,
                **options,
            )
            with context.begin_transaction():
                context.run_migrations()
            connection.commit()
    finally:
        writing.reset(token)


migrate()
