"""What Alembic runs: the app's engine and tables, one transaction for all steps."""

from typing import Any, Literal

from alembic import context
from flask import current_app

from portal.db import UtcDateTime, db, writing


def render_item(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """A migration must stand alone: our column types are written as what they are to the database."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def migrate() -> None:
    engine = db.engine
    token = writing.set(True)  # SQLite: two starting at once take turns
    try:
        with engine.connect() as connection:
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
