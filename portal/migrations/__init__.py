"""Schema changes with data in place: Alembic, through Flask-Migrate (`flask --app app db upgrade`)."""

from pathlib import Path

from flask_migrate import Migrate

migrate = Migrate(directory=str(Path(__file__).parent), render_as_batch=True)  # batch: SQLite can't alter in place
