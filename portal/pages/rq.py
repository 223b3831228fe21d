"""RQ's dashboard at /rq, which shows operators the queues in Redis."""

from typing import Any

import rq
from flask import Flask, abort, g, request
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker
from rq_dashboard import web

from portal import config
from portal.accounts import access
from portal.errors import Forbidden
from portal.infra import jobs
from portal.pages.session import current_user, demand_admin


class _Job(Job):
    """A job with JSON data. The dashboard fetches some without a serializer, which would unpickle them."""

    @classmethod
    def fetch(cls, id: str, connection: Any = None, serializer: Any = None) -> Job:
        return super().fetch(id, connection=connection, serializer=JSONSerializer)


class _Worker(rq.Worker):
    """A worker whose jobs have JSON data."""

    @classmethod
    def all(cls, connection: Any = None, *_: Any, **__: Any) -> list[BaseWorker]:
        return super().all(connection=connection, serializer=JSONSerializer)


def _requeue_job(job_id: str, connection: Any) -> Job:
    return rq.requeue_job(job_id, connection, serializer=JSONSerializer)


def init_app(app: Flask) -> None:
    """Mount the dashboard. Deleting is off: queues serve all workspaces, and deleted jobs would be enqueued again."""
    web.config.serializer = JSONSerializer
    web.Job, web.Worker, web.requeue_job = _Job, _Worker, _requeue_job
    app.config["RQ_DASHBOARD_REDIS_URL"] = (config.settings().redis_url or "redis://localhost",)
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    app.redis_conn = jobs.connection()  # type: ignore[attr-defined]
    app.before_request(_guard)
    app.add_template_global(is_operator)
    app.register_blueprint(web.blueprint, url_prefix="/rq")


def is_operator() -> bool:
    """Return whether the current user is an operator. Queried once per request."""
    if "is_operator" not in g:
        g.is_operator = access.is_operator(current_user())
    return bool(g.is_operator)


def _guard() -> None:
    """Admit only operators, allow changes only by POST (which checks Origin), and hide other Redis instances."""
    if request.path != "/rq" and not request.path.startswith("/rq/"):
        return
    demand_admin()
    if not is_operator():
        raise Forbidden("Only operators of this installation may see the queues of all workspaces.")
    if request.endpoint == "rq_dashboard.requeue_all" and request.method != "POST":
        abort(405)
    if (request.view_args or {}).get("instance_number"):
        abort(404)
