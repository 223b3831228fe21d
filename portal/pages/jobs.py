"""The jobs page: a workspace's running, waiting, failed and completed jobs."""

from typing import NamedTuple, TypedDict
from urllib.parse import urlencode
from uuid import UUID

from flask import Blueprint, Flask, g, redirect, render_template
from flask.typing import ResponseReturnValue
from redis.exceptions import RedisError

from portal import activity, installation
from portal.accounts.models import Workspace
from portal.db import db
from portal.errors import Invalid
from portal.images import imports
from portal.images.models import FAILED
from portal.infra import jobs
from portal.listings import providers
from portal.pages import live
from portal.pages.htmx import request
from portal.pages.rq import is_operator
from portal.pages.session import current_user, signed_in

JOB_LABELS = {
    "sweep": "Looking for lost jobs",
    "tidy": "Tidying up",
    "audit": "Checking stored files",
    "run_imports": "Fetching links",
    "deliver_webhooks": "Calling webhooks",
    "sync_listings": "Syncing listings",
    "image_cdn_upload": "Copying listing pictures",
    "clear_leftovers": "Removing old copies",
    "collect_garbage": "Deleting old files",
}
PAGE = 30

blueprint = Blueprint("jobs", __name__)


class WorkerRow(NamedTuple):
    """A worker on the page, named by its queue and a number. Host names are not shown."""

    name: str
    doing: str | None


class Filters(TypedDict):
    """The page's filters and its position in the list."""

    kind: str | None
    state: str | None
    search: str
    after: str | None


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.add_template_global(has_failed_jobs)


def has_failed_jobs() -> bool:
    """Return whether the navigation's badge is shown. Error pages don't query it (portal/pages/errors.py)."""
    if "has_failed_jobs" not in g:
        g.has_failed_jobs = activity.has_failed(current_user().workspace)
    return bool(g.has_failed_jobs)


@blueprint.get("/jobs")
@signed_in
def overview() -> ResponseReturnValue:
    """Return the page; for htmx, its live part, or 304 if it has not changed."""
    if request.htmx:
        return live.fragment(render_template("jobs/_live.html", **_page_data()))
    return render_template("jobs/overview.html", **_page_data())


@blueprint.post("/jobs/<uuid:uuid>/run-again")
@signed_in
def run_again(uuid: UUID) -> ResponseReturnValue:
    """Run a failed job again, webhook deliveries included. Editors may do so, since it changes no settings."""
    activity.try_again(activity.find(current_user().workspace, str(uuid)))
    return _back()


@blueprint.post("/jobs/retry-failed")
@signed_in
def retry_failed() -> ResponseReturnValue:
    """Run all failed jobs again or, if the form names a cause, only those that failed for it."""
    cause = None
    if kind := request.form.get("cause"):
        if kind not in activity.KINDS:
            raise Invalid("Unknown cause.", code="cause")
        cause = activity.Cause(kind, request.form.get("reason", ""), request.form.get("place", ""), 0)
    activity.try_all_again(current_user().workspace, cause)
    return _back()


def _page_data() -> dict[str, object]:
    """Return the page's data, in a number of statements that does not depend on the number of jobs."""
    workspace, here = current_user().workspace, _filters()
    page = activity.page(workspace, limit=PAGE, **here)
    return {
        "counts": activity.counts(workspace),
        "jobs_per_minute": activity.jobs_per_minute(workspace),
        "causes": activity.causes(workspace) if here["state"] == FAILED else [],
        "workers": _workers(workspace),
        "warning": _warning(),
        "jobs": page.items,
        "failed_pictures": activity.failed_pictures(page.items),
        "next_url": _url(here, page.next_cursor) if page.next_cursor else None,
        "newest_url": _url(here, None) if here["after"] else None,
        "url_of": url_of,
        "progress_of": imports.progress,
        "provider_names": {key: provider.name for key, provider in providers.ALL.items()},
        **here,
    }


def _warning() -> str:
    """Return a warning for operators, or an empty text. Other people couldn't act on it."""
    is_shown = is_operator() and installation.is_foreign(db.engine)
    return installation.NOT_OURS if is_shown else ""


def _filters() -> Filters:
    """Return the filters, from the URL or from hidden fields of the page's forms."""
    asked = request.values
    return {
        "kind": asked.get("kind") or None,
        "state": asked.get("state") or None,
        "search": asked.get("q", "").strip(),
        "after": asked.get("after") or None,
    }


def _workers(workspace: Workspace) -> list[WorkerRow] | None:
    """Return what each worker is doing, without other workspaces' file names; None if Redis is unavailable."""
    try:
        found = jobs.workers()
    except RedisError:
        return None
    wanted = {worker.args[0] for worker in found if worker.job in ("make_variants", "make_avif")}
    names = activity.file_names(workspace, wanted)
    rows, numbers = [], dict.fromkeys(jobs.QUEUES, 0)
    for worker in found:
        numbers[worker.queue] = number = numbers.get(worker.queue, 0) + 1
        rows.append(WorkerRow(f"{worker.queue} {number}", _doing(worker, names)))
    return rows


def _doing(worker: jobs.Worker, names: dict[int | str, str]) -> str | None:
    if worker.job is None:
        return None
    if worker.job in JOB_LABELS:
        return JOB_LABELS[worker.job]
    name = names.get(worker.args[0]) if worker.args else None
    return f"Converting {name}" if name else "Busy"


def url_of(kind: str | None = None, state: str | None = None, search: str = "", after: str | None = None) -> str:
    """Return the page's URL with these filters."""
    wanted = {"kind": kind, "state": state, "q": search, "after": after}
    query = urlencode({name: value for name, value in wanted.items() if value})
    return f"/jobs?{query}" if query else "/jobs"


def _url(here: Filters, after: str | None) -> str:
    return url_of(here["kind"], here["state"], here["search"], after)


def _back() -> ResponseReturnValue:
    """Return the live part for htmx, otherwise redirect to the page of the button."""
    if request.htmx:
        return render_template("jobs/_live.html", **_page_data())
    return redirect(url_of(**_filters()), 303)
