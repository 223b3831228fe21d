"""Error pages and toasts: what happened, what is safe, what to do next."""

import logging
from typing import NamedTuple

from flask import Flask, g, render_template
from htmx_flask import make_response
from redis.exceptions import RedisError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import ObjectDeletedError
from werkzeug import Response
from werkzeug.exceptions import HTTPException

from portal.db import is_disk_full
from portal.errors import DiskFull, Problem, StorageFailed, TooMany, Unauthorized
from portal.infra.statuses import STORAGE_RETRY_S, status_of
from portal.pages.htmx import request
from portal.pages.security import is_page
from portal.pages.session import ask_to_sign_in

log = logging.getLogger(__name__)


class ErrorText(NamedTuple):
    title: str
    text: str


ERROR_TEXTS = {
    400: ErrorText("The request could not be read", "Nothing was changed. Go back, reload the page and try again."),
    403: ErrorText(
        "You don’t have permission", "Nothing was changed. Ask an admin of your workspace to do it, or for permission."
    ),
    404: ErrorText(
        "Page not found", "It may have been deleted, or the address is wrong. Everything else is where it was."
    ),
    405: ErrorText("That doesn’t work here", "Nothing was changed. Go back and use the buttons on the page."),
    409: ErrorText("Somebody else was faster", "Nothing was changed. Reload the page, then try again."),
    413: ErrorText(
        "That is too large", "Nothing was changed. Upload photos on their property’s page, up to 10 MB each."
    ),
    415: ErrorText(
        "That type of content is not supported", "Nothing was changed. Go back, reload the page and try again."
    ),
    422: ErrorText("Something needs correcting", "Nothing was changed. Go back, correct it and try again."),
    429: ErrorText("Too many attempts", "Nothing was changed."),
    500: ErrorText(
        "Something went wrong on our side",
        "Everything saved so far is safe. Try again; if it happens again, tell your admin.",
    ),
    503: ErrorText("Frontage is partly unavailable", "Everything saved so far is safe. Try again in a minute."),
}


def init_app(app: Flask) -> None:
    app.register_error_handler(Unauthorized, ask_to_sign_in)
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(ObjectDeletedError, lambda _: _answer(404))  # the row was deleted during the request
    app.register_error_handler(OperationalError, _unavailable)
    app.register_error_handler(PoolTimeout, _unavailable)
    app.register_error_handler(RedisError, _unavailable)


def headers_of(problem: Problem) -> dict[str, str]:
    """Return Retry-After, in seconds, where waiting helps."""
    if isinstance(problem, StorageFailed):
        return {"Retry-After": str(STORAGE_RETRY_S)}
    return {"Retry-After": str(problem.retry_after_s)} if isinstance(problem, TooMany) else {}


def _problem(error: Problem) -> Response:
    """Answer a problem. A 404 has a fixed text, so another workspace's rows look the same as missing ones."""
    status = status_of(error)
    answer = _answer(status, error.message if status not in (404, 500) else None)
    answer.headers.update(headers_of(error))
    return answer


def _http(error: HTTPException) -> Response:
    """Answer an error of the framework. Paths that are not pages get the framework's default."""
    if not is_page() or error.code is None or error.code < 400:
        return error.get_response()
    text = "Wait a few minutes, then try again." if error.code == 429 else None
    answer = _answer(error.code, text)
    if error.code == 405:
        answer.headers["Allow"] = error.get_response().headers.get("Allow", "")
    return answer


def _unavailable(error: Exception) -> Response:
    """Answer 503 while the database or Redis is unavailable: a page, or plain text for paths that are not pages."""
    log.warning("service unavailable: reason=%s", type(error).__name__)
    message = DiskFull().message if is_disk_full(error) else None
    if not is_page():
        text = message or "A part of this service is unavailable."
        return Response(f"{text}\n", 503, {"Retry-After": str(STORAGE_RETRY_S)}, mimetype="text/plain")
    return _answer(503, message)


def _answer(status: int, message: str | None = None) -> Response:
    """Return an error page, or for htmx a toast that leaves the page as it is. Must not query the database."""
    words = ERROR_TEXTS.get(status) or (ERROR_TEXTS[400] if status < 500 else ERROR_TEXTS[500])
    text = f"{message} {words.text}" if message and status == 429 else message or words.text
    if request.htmx:
        sentence = Response(text, status, mimetype="text/plain")
        return make_response(sentence, reswap="none", trigger={"toast": {"text": text}})
    g.has_failed_jobs = False  # otherwise the navigation's badge would query it
    if status >= 500:
        g.user = None  # likewise the user's name
    page = render_template("errors/error.html", status=status, title=words.title, text=text)
    return Response(page, status, mimetype="text/html")
