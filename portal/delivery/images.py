"""GET /images/{workspace}/{property}/{file} and GET /cdn/{key}: what our own code wrote, never an original."""

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
LISTING_KEY = re.compile(  # Image CDN: thumbnail_{hash}.{ext} and gallery/{position}_{hash}.{ext}
    rf"{UUID}/{UUID}/(?:thumbnail|gallery/[0-9]+)_[0-9a-f]{{32}}\.(?:jpg|png|webp|gif|avif|heic)"
)
PUBLISHED: dict[re.Pattern[str], Callable[[str], bool]] = {  # who knows whether a key of this shape has a row
    IMAGE_KEY: renditions.is_named,
    LISTING_KEY: catalogue.is_named,
}
MAX_WIDTH_PX = 100_000
FOR_NOW = "public, max-age=60"  # a better form is being made

blueprint = Blueprint("delivery", __name__)


@blueprint.get("/images/<workspace>/<property>/<file>")
def image(workspace: str, property: str, file: str) -> Response:
    """The best rendition for this Accept and `?w=`; the address is the same for good, and so is the picture."""
    key = f"images/{workspace}/{property}/{file}"
    try:
        return _best(key)
    except NotFound:
        return _best(key)  # it may have changed between our look and its bytes: a fresh look knows


def _best(key: str) -> Response:
    form = renditions.best(renditions.find_image(key), _accepts(), _width())
    return _answer(form.key, form.type, varies=True, lasts=form.lasts)


@blueprint.get("/cdn/<path:key>")
def stored(key: str) -> Response:
    """An object of the CDN bucket, for where no CDN stands in front of it; what was dropped is gone at once (X14)."""
    for pattern, is_named in PUBLISHED.items():
        if pattern.fullmatch(key) and is_named(key):
            return _answer(key, type_of(key), varies=False)
    raise NotFound("There is no such photo.")


def _answer(key: str, type: str, *, varies: bool, lasts: bool = True) -> Response:
    etag = sha256(key.encode()).hexdigest()[:32]  # a key is written once, so its name is its content's
    if request.if_none_match.contains(etag) and storage.cdn.head(key):  # what is deleted has not "not changed"
        response = Response(status=304)
    else:
        data = storage.cdn.get(key)
        if data is None:
            raise NotFound("There is no such photo.")
        response = Response(data, content_type=type)
    response.set_etag(etag)
    response.headers["Cache-Control"] = IMMUTABLE if lasts else FOR_NOW
    if varies:
        response.headers["Vary"] = "Accept"
    return response


def _accepts() -> frozenset[str]:
    """The modern types that are named outright: `*/*` alone is no promise that AVIF can be shown."""
    return frozenset(name for name, quality in request.accept_mimetypes if quality > 0 and "*" not in name)


def _width() -> int | None:
    text = request.args.get("w")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:7]) <= MAX_WIDTH_PX):
        raise Invalid("w is a width in pixels, such as 640.")
    return int(text)


@blueprint.after_request
def _harmless(response: Response) -> Response:
    """Nothing that comes from here can ever run as a page (reliability.md, decision 16)."""
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
