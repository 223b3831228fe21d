"""Schema changes with data in place: Alembic, through Flask-Migrate (`flask --app app db upgrade`)."""

from functools import cache
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask_migrate import Migrate
from sqlalchemy import Engine

FOLDER = str(Path(__file__).parent)
EMPTY = "The database has no tables yet. Run: flask --app app db upgrade"
EARLIER = "The database is of an earlier release (revision {}, not {}). Run: flask --app app db upgrade"
LATER = "The database is of a later release (revision {}; this one knows {}). Start that release, or restore a backup."

migrate = Migrate(directory=FOLDER, render_as_batch=True)  # batch: SQLite can't alter in place


def mismatch(engine: Engine) -> str | None:
    """Return, in a sentence for the operator, why this release can't work with the database's tables; None if it can.

    Raises SQLAlchemyError if the database doesn't answer.
    """
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    known = _revisions()
    if found == known[0]:
        return None
    if found is None:
        return EMPTY
    return (EARLIER if found in known else LATER).format(found, known[0])


@cache
def _revisions() -> list[str]:
    """Return this release's revisions, the last one first."""
    return [script.revision for script in ScriptDirectory(FOLDER).walk_revisions()]
