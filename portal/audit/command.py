"""`flask --app app audit`: one walk, to its end."""

import sys
import time
from collections.abc import Callable
from typing import NoReturn

import click
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from portal import installation
from portal.accounts import access
from portal.audit import report, walk
from portal.audit.lease import Options, leased
from portal.audit.models import COMPARE, REPAIR, AuditFinding, AuditWalk
from portal.audit.run import Run
from portal.db import db, release
from portal.errors import Conflict, Problem
from portal.inventory import StoredObject

LEFT, COULD_NOT_RUN = 1, 2
WAIT_FOR_SCHEDULED_S = 90  # longer than a part of the scheduled walk


@click.command("audit")
@click.option("--repair", is_flag=True, help="Make again what is missing or wrong.")
@click.option("--from-large", is_flag=True, help="Put the large variant in the place of a lost original.")
@click.option(
    "--sample",
    type=click.FloatRange(0, 100),
    default=100,
    show_default=True,
    metavar="PERCENT",
    help="Of the objects: whose bytes are read and compared.",
)
@click.option("--workspace", metavar="NAME", help="Only the objects of this workspace.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
def audit(repair: bool, from_large: bool, sample: float, workspace: str | None, is_json: bool) -> None:
    """Compare the buckets with the database.

    Exits with 0 if nothing is left to repair, 1 if something is, and 2 if the audit could not run. One that was
    interrupted is resumed by the same command.
    """
    try:
        walked = _walk(repair or from_large, from_large, sample, workspace)
        for part in (report.as_json if is_json else report.as_text)(walked):
            click.echo(part, nl=not is_json)
        if is_json:
            click.echo()
        walked = db.session.get_one(AuditWalk, walked.id)
        message, left = walked.message, report.left(walked)
    except Problem as problem:
        details = f" ({problem.details})" if isinstance(problem.details, str) else ""
        _refuse(f"{problem.message}{details}")
    except SQLAlchemyError as error:
        _refuse(f"The database does not answer: {type(error).__name__}.")
    except KeyboardInterrupt:
        _refuse("Interrupted. The same command continues.")
    if message:
        _refuse(message)
    sys.exit(LEFT if left else 0)


def _walk(repair: bool, from_large: bool, sample: float, workspace: str | None) -> AuditWalk:
    options = Options(repair, from_large, sample, _workspace_id(workspace))
    is_owner = installation.check()
    if is_owner is None:
        _refuse("A bucket does not answer.")
    if not is_owner:
        _refuse(f"Nothing was done. {installation.NOT_OURS}")
    deadline = time.monotonic() + WAIT_FOR_SCHEDULED_S
    while True:
        try:
            with leased(options) as lease:
                walk.advance(Run(lease, on_progress=_progress()))
            return db.session.get_one(AuditWalk, lease.walk_id, populate_existing=True)
        except Conflict as busy:
            is_scheduled = isinstance(busy.details, dict) and busy.details.get("is_scheduled")
            if not is_scheduled or time.monotonic() > deadline:
                raise
        time.sleep(1)


def _workspace_id(name: str | None) -> int | None:
    if name is None:
        return None
    workspace = access.find_workspace(name)
    if workspace is None:
        _refuse(f"There is no workspace called {name!r}.")
    return workspace.id


def _progress() -> Callable[[AuditWalk], None]:
    """Return a function that shows how far a walk is, on a terminal."""
    if not _is_terminal():
        return lambda _: None
    total = db.session.scalar(select(func.count()).select_from(StoredObject)) or 0
    release()

    def show(at: AuditWalk) -> None:
        text = f"Checked {at.checked:,} of {total:,} objects"
        if at.phase != COMPARE:
            found = select(func.count()).where(AuditFinding.walk_id == at.id)
            open_count = db.session.scalar(found.where(AuditFinding.attempted_at.is_(None))) or 0
            text += f", {open_count:,} findings to go" if at.phase == REPAIR else ""
        click.echo(f"\r{text:60}", nl=at.finished_at is not None, err=True)

    return show


def _is_terminal() -> bool:
    return sys.stderr.isatty()


def _refuse(sentence: str) -> NoReturn:
    click.echo(f"Error: {sentence}", err=True)
    sys.exit(COULD_NOT_RUN)
