"""GET /images/{workspace}/{property}/{file} and GET /cdn/{key}: renditions and copies, never originals."""

import re
from collections.abc import Callable

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from portal.delivery import rules
from portal.errors import Invalid, NotFound, Problem, TooMany
from portal.images.variants import renditions
from portal.infra import storage
from portal.infra.statuses import status_of
from portal.listings import catalogue
from portal.pixels.types import type_of

PUBLISHED: dict[re.Pattern[str], Callable[[str], bool]] = {  # returns whether a row refers to a key of this shape
    rules.IMAGE_KEY: renditions.is_referenced,
    rules.LISTING_KEY: catalogue.is_referenced,
}

blueprint = Blueprint("delivery", __name__)


@blueprint.get("/images/<workspace>/<property>/<file>")
def image(workspace: str, property: str, file: str) -> Response:
    """Return the best rendition for this Accept header and `?w=`. A URL always shows the same picture."""
    key = f"images/{workspace}/{property}/{file}"
    try:
        return _best(key)
    except NotFound:
        return _best(key)  # it may have changed while it was read: look it up again


def _best(key: str) -> Response:
    rendition = renditions.best(
        renditions.find_image(key),
        rules.accepted(request.headers.get("Accept", "")),
        rules.width(request.args.get("w")),
    )
    return _answer(rendition.key, rendition.type, varies=True, is_final=rendition.is_final)


@blueprint.get("/cdn/<path:key>")
def stored(key: str) -> Response:
    """Return an object of the CDN bucket, for installations without a CDN.

    The row is checked each time, so a deleted image stops resolving immediately.
    """
    for pattern, is_referenced in PUBLISHED.items():
        if pattern.fullmatch(key) and is_referenced(key):
            return _answer(key, type_of(key), varies=False)
    raise NotFound("There is no such photo.")


def _answer(key: str, type: str, *, varies: bool, is_final: bool = True) -> Response:
    if request.if_none_match.contains_weak(rules.etag_of(key)) and storage.cdn.head(key):  # no 304 for a deleted object
        response = Response(status=304)
    else:
        data = storage.cdn.get(key)
        if data is None:
            raise NotFound("There is no such photo.")
        response = Response(data, content_type=type)
    response.headers.update(rules.headers(key, varies=varies, is_final=is_final))
    return response


@blueprint.after_request
def _harmless(response: Response) -> Response:
    """Keep delivered files from ever running as a page, even if one were not an image."""
    response.headers.update(rules.HARMLESS)
    return response


@blueprint.errorhandler(Problem)
def _problem(problem: Problem) -> Response:
    status = status_of(problem, {Invalid: 400, TooMany: 503})
    response = _plain(problem.message, status)
    if status == 503:
        response.headers["Retry-After"] = "1"
    return response


@blueprint.errorhandler(HTTPException)
def _http_error(error: HTTPException) -> Response:
    return _plain(error.name, error.code or 500)


def _plain(text: str, status: int) -> Response:
    response = Response(f"{text}\n", status, content_type="text/plain; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept"
    return response
