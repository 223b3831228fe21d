"""GET /images/{workspace}/{property}/{file} and GET /cdn/{key}: renditions and copies, never originals."""

from contextlib import suppress

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException, RequestedRangeNotSatisfiable

from portal import inventory
from portal.db import release
from portal.delivery import healing, objects, rules
from portal.errors import Invalid, NotFound, Problem, TooMany
from portal.images.keys import cdn_url
from portal.images.variants import renditions
from portal.images.variants.renditions import RenditionFile
from portal.infra import storage
from portal.infra.statuses import status_of
from portal.infra.storage import IMMUTABLE
from portal.inventory import Damaged, Facts
from portal.listings import catalogue

blueprint = Blueprint("delivery", __name__)


@blueprint.get("/images/<workspace>/<property>/<file>")
def image(workspace: str, property: str, file: str) -> Response:
    """Return the best rendition for this Accept header and `?w=`. A URL always shows the same picture.

    What is damaged is made again first; if that can't be done now, the nearest width that is left is returned.
    """
    key = f"images/{workspace}/{property}/{file}"
    try:
        try:
            return _best(key)
        except NotFound:
            return _best(key)  # it may have changed while it was read: look it up again
        except Damaged as damaged:
            if not healing.heal(damaged):
                raise
            return _best(key)
    except (Damaged, TooMany):
        return _any_left(key)


def _best(key: str) -> Response:
    file = renditions.best(renditions.find_image(key), _accepts(), _width())
    return _of_image(file)


def _any_left(key: str) -> Response:
    """Answer with the photo's nearest stored width that is not damaged. Raises Unavailable if there is none."""
    image = renditions.find_image(key)
    for file in renditions.stored(image, _accepts(), _width()):
        with suppress(NotFound, Damaged):
            return _of_image(file)
    raise healing.Unavailable


def _of_image(file: RenditionFile) -> Response:
    facts = inventory.find(storage.cdn, file.key)
    release()  # no connection is held while bytes travel
    if facts is None:
        raise NotFound("There is no such photo.")
    response = _cacheable(objects.answer(storage.cdn, facts), is_final=file.is_final)
    response.headers["Vary"] = "Accept"
    return response


@blueprint.get("/cdn/<path:key>")
def stored(key: str) -> Response:
    """Return an object of the CDN bucket, for installations without a CDN.

    The row is checked each time, so a deleted image stops resolving immediately. A replaced object whose bytes are
    gone redirects to the one that took its place.
    """
    facts = _published(key)
    try:
        return _cacheable(objects.answer(storage.cdn, facts))
    except Damaged as damaged:
        if facts.replaced_by:
            return _moved(facts.replaced_by)
        if not healing.heal(damaged):
            raise healing.Unavailable from damaged
    facts = _published(key)
    if facts.replaced_by:
        return _moved(facts.replaced_by)
    return _cacheable(objects.answer(storage.cdn, facts))


def _published(key: str) -> Facts:
    """Return what is known of a published object. Raises NotFound."""
    is_copy = rules.LISTING_KEY.fullmatch(key)
    facts = inventory.find(storage.cdn, key) if is_copy or rules.IMAGE_KEY.fullmatch(key) else None
    if facts is None or (is_copy and not catalogue.is_referenced(facts.replaced_by or key)):
        raise NotFound("There is no such photo.")
    release()  # no connection is held while bytes travel
    return facts


def _moved(key: str) -> Response:
    response = Response(status=308)
    response.location = cdn_url(key)
    response.headers["Cache-Control"] = rules.PROVISIONAL
    return response


def _cacheable(response: Response, *, is_final: bool = True) -> Response:
    response.headers["Cache-Control"] = IMMUTABLE if is_final else rules.PROVISIONAL
    return response


def _accepts() -> frozenset[str]:
    return rules.accepted(request.headers.get("Accept", ""))


def _width() -> int | None:
    return rules.width(request.args.get("w"))


@blueprint.after_request
def _harmless(response: Response) -> Response:
    response.headers.update(rules.HARMLESS)
    return response


@blueprint.errorhandler(Problem)
def _problem(problem: Problem) -> Response:
    status = status_of(problem, {Invalid: 400, TooMany: 503, Damaged: 503})
    response = _plain(problem.message, status)
    if status == 503:
        response.headers["Retry-After"] = "1"
    return response


@blueprint.errorhandler(HTTPException)
def _http_error(error: HTTPException) -> Response:
    response = _plain(error.name, error.code or 500)
    if isinstance(error, RequestedRangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.length}"
    return response


def _plain(text: str, status: int) -> Response:
    response = Response(f"{text}\n", status, content_type="text/plain; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept"
    return response
