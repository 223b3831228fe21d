"""GET /images/{workspace}/{property}/{file} and GET /cdn/{key}: renditions and copies, never originals."""

import re
from collections.abc import Callable
from hashlib import sha256

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from portal.errors import Invalid, NotFound, Problem, TooMany
from portal.images.variants import renditions
from portal.infra import storage
from portal.infra.statuses import status_of
from portal.infra.storage import IMMUTABLE
from portal.listings import catalogue
from portal.pixels.types import type_of

UUID = "[0-9a-f-]{36}"
IMAGE_KEY = re.compile(rf"(?:properties/[0-9]+|derived/{UUID})/{UUID}-(?:lg|thumb|[0-9]+)\.(?:webp|jpg|avif)")
LISTING_KEY = re.compile(  # Image CDN contract: thumbnail_{hash}.{ext} and gallery/{position}_{hash}.{ext}
    rf"{UUID}/{UUID}/(?:thumbnail|gallery/[0-9]+)_[0-9a-f]{{32}}\.(?:jpg|png|webp|gif|avif|heic)"
)
PUBLISHED: dict[re.Pattern[str], Callable[[str], bool]] = {  # returns whether a row refers to a key of this shape
    IMAGE_KEY: renditions.is_referenced,
    LISTING_KEY: catalogue.is_referenced,
}
MAX_WIDTH_PX = 100_000
PROVISIONAL = "public, max-age=60"  # a better rendition is being made

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
    rendition = renditions.best(renditions.find_image(key), _accepts(), _width())
    return _answer(rendition.key, rendition.type, varies=True, lasts=rendition.lasts)


@blueprint.get("/cdn/<path:key>")
def stored(key: str) -> Response:
    """Return an object of the CDN bucket, for installations without a CDN.

    The row is checked each time, so a deleted image stops resolving immediately.
    """
    for pattern, is_referenced in PUBLISHED.items():
        if pattern.fullmatch(key) and is_referenced(key):
            return _answer(key, type_of(key), varies=False)
    raise NotFound("There is no such photo.")


def _answer(key: str, type: str, *, varies: bool, lasts: bool = True) -> Response:
    etag = sha256(key.encode()).hexdigest()[:32]  # keys are never overwritten, so a key identifies its content
    if request.if_none_match.contains(etag) and storage.cdn.head(key):  # no 304 for a deleted object
        response = Response(status=304)
    else:
        data = storage.cdn.get(key)
        if data is None:
            raise NotFound("There is no such photo.")
        response = Response(data, content_type=type)
    response.set_etag(etag)
    response.headers["Cache-Control"] = IMMUTABLE if lasts else PROVISIONAL
    if varies:
        response.headers["Vary"] = "Accept"
    return response


def _accepts() -> frozenset[str]:
    """Return the types that Accept names explicitly: `*/*` doesn't mean that a client can show AVIF."""
    return frozenset(name for name, quality in request.accept_mimetypes if quality > 0 and "*" not in name)


def _width() -> int | None:
    text = request.args.get("w")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:7]) <= MAX_WIDTH_PX):
        raise Invalid("w must be a width in pixels, such as 640.")
    return int(text)


@blueprint.after_request
def _harmless(response: Response) -> Response:
    """Keep delivered files from ever running as a page, even if one were not an image."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
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
