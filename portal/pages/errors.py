"""What a reader sees when something went wrong: what happened, what is safe, what to do."""

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

from portal.errors import Problem, TooMany, Unauthorized
from portal.infra.multipart import BROKEN_BODY
from portal.infra.statuses import status_of
from portal.pages.htmx import request
from portal.pages.security import is_page
from portal.pages.session import ask_to_sign_in

log = logging.getLogger(__name__)


class Words(NamedTuple):
    title: str
    text: str


WORDS = {
    400: Words("That request can’t be read", "Nothing was changed. Go back, reload the page and try again."),
    403: Words(
        "That is not yours to do", "Nothing was changed. Ask an admin of your workspace to do it, or to let you."
    ),
    404: Words(
        "There is nothing here", "It was deleted, or the address is not right. Everything else is where it was."
    ),
    405: Words("That can’t be done here", "Nothing was changed. Go back and use the buttons of the page."),
    409: Words("Somebody else was first", "Nothing was changed. Look again, then try again."),
    413: Words(
        "That is too much at once", "Nothing was changed. Photos go up on the page of their property, up to 10 MB each."
    ),
    415: Words("That kind of content doesn’t fit", "Nothing was changed. Go back, reload the page and try again."),
    422: Words("That can’t be used as it is", "Nothing was changed. Go back, correct it and try again."),
    429: Words("Too many tries", "Nothing was changed."),
    500: Words(
        "Something broke on our side", "What was saved before is safe. Try again; if it breaks again, tell your admin."
    ),
    503: Words("A part of Frontage doesn’t answer", "What was saved before is safe. Try again in a minute."),
}


def init_app(app: Flask) -> None:
    app.register_error_handler(Unauthorized, ask_to_sign_in)
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(ObjectDeletedError, lambda _: _answer(404))  # between a look at a row and the next
    app.register_error_handler(OperationalError, _away)
    app.register_error_handler(PoolTimeout, _away)
    app.register_error_handler(RedisError, _away)
    for broken in BROKEN_BODY:
        app.register_error_handler(broken, lambda _: _answer(400))


def headers_of(problem: Problem) -> dict[str, str]:
    return {"Retry-After": str(problem.retry_after_s)} if isinstance(problem, TooMany) else {}


def _problem(error: Problem) -> Response:
    """A foreign thing and an absent one get the same page: the sentence of a 404 is never the domain's."""
    status = status_of(error)
    answer = _answer(status, error.message if status not in (404, 500) else None)
    answer.headers.update(headers_of(error))
    return answer


def _http(error: HTTPException) -> Response:
    """What the framework raised. Other entrances answer for their own paths."""
    if not is_page() or error.code is None or error.code < 400:
        return error.get_response()
    said = "Wait a few minutes, then try again." if error.code == 429 else None
    answer = _answer(error.code, said)
    if error.code == 405:
        answer.headers["Allow"] = error.get_response().headers.get("Allow", "")
    return answer


def _away(error: Exception) -> Response:
    """The database or Redis does not answer. Where no dialect speaks, one plain sentence does."""
    log.warning("a part of us is away: %s", error)
    if not is_page():
        return Response("A part of this service does not answer.\n", 503, {"Retry-After": "5"}, mimetype="text/plain")
    return _answer(503)


def _answer(status: int, said: str | None = None) -> Response:
    """A page, or for htmx a toast that leaves the page as it is. Asks nothing of the database."""
    words = WORDS.get(status) or (WORDS[400] if status < 500 else WORDS[500])
    text = f"{said} {words.text}" if said and status == 429 else said or words.text
    if request.htmx:
        sentence = Response(text, status, mimetype="text/plain")
        return make_response(sentence, reswap="none", trigger={"toast": {"text": text}})
    g.has_failed_jobs = False  # the badge in the navigation would ask
    if status >= 500:
        g.user = None  # so would a name
    page = render_template("errors/error.html", status=status, title=words.title, text=text)
    return Response(page, status, mimetype="text/html")
