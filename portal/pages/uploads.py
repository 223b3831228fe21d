"""The browser's own uploads: presign, confirm and cancel for the gallery editor, with a word for each refusal."""

from uuid import UUID

from flask import Blueprint, jsonify, redirect, render_template
from flask.typing import ResponseReturnValue
from htmx_flask import make_response

from portal.errors import NotFound, OverQuota, Problem
from portal.images import properties, uploads
from portal.images.models import Property
from portal.images.uploads import Announced, Arrived, cancellation
from portal.infra.statuses import status_of
from portal.pages.htmx import request
from portal.pages.session import current_user, signed_in
from portal.pages.sheet import find_sheet, render_tile
from portal.pixels.types import type_of

ALIASES = {"image/heif": "image/heic", "image/jpg": "image/jpeg"}  # names that browsers have for our types

# What a tile says, and what stands under it. Whatever has no entry is said in the domain's own sentence.
WORDS = {
    "content_type_not_allowed": ("Not a photo we can read", "Use JPEG, PNG, WebP or HEIC."),
    "too_large": ("Over 10 MB", "Save a smaller copy and add that."),
    "empty": ("The file is empty", "Save it again where it comes from."),
    "file_name": ("The file’s name is too long", "Use at most 255 characters."),
    "content_mismatch": ("Not what its name says", "The file is of another type. Save it again as a JPEG."),
    "too_many_outstanding": ("Too many unfinished uploads", "Wait an hour, then try again."),
    "property_not_found": ("This property is gone", "Somebody deleted it. Go back to your properties."),
}

blueprint = Blueprint("uploads", __name__)


@blueprint.post("/properties/<uuid:uuid>/uploads")
@signed_in
def presign(uuid: UUID) -> ResponseReturnValue:
    """Hand out a PUT for one file: {name, type, size} → {url, headers, key, done, cancel}."""
    try:
        body = request.get_json(silent=True)
    except RecursionError:  # brackets, a hundred thousand deep
        body = None
    try:
        (upload,) = uploads.presign(_find(uuid), [_announced(body if isinstance(body, dict) else {})])
        url = uploads.url_of(upload)
    except Problem as problem:
        return _refusal(problem)
    headers = {"Content-Type": upload.content_type}
    here = f"/properties/{uuid}/uploads"
    return jsonify(url=url, headers=headers, key=upload.key, done=f"{here}/confirm", cancel=f"{here}/cancel")


@blueprint.post("/properties/<uuid:uuid>/uploads/confirm")
@signed_in
def confirm(uuid: UUID) -> ResponseReturnValue:
    """Turn what was PUT into a photo; answers with its tile."""
    try:
        property = _find(uuid)
        upload = uploads.find_upload(property, request.form.get("key", ""))
        if upload is None:
            raise NotFound("This upload is too old. Add the photo again.", code="unknown_key")
        arrived = Arrived(upload.key, upload.content_type, upload.size_bytes)
        (confirmed,) = uploads.confirm(property, [arrived], added_by=current_user().name or current_user().email)
    except Problem as problem:
        return _refusal(problem)
    return render_tile(uuid, confirmed.image, own=True)


@blueprint.post("/properties/<uuid:uuid>/uploads/cancel")
@signed_in
def cancel(uuid: UUID) -> ResponseReturnValue:
    """Take an upload back, also one that is being confirmed or has just become a photo."""
    file_name = cancellation.cancel(_find(uuid), request.form.get("key", ""))
    sheet = find_sheet(uuid)
    if not request.htmx:
        return redirect(sheet.url, 303)
    toast = {"toast": {"text": f"Cancelled {file_name}.", "life": 4000}} if file_name else None
    return make_response(render_template("gallery/_counts.html", sheet=sheet), trigger=toast)


def _find(uuid: UUID) -> Property:
    return properties.find(current_user().workspace, str(uuid))


def _announced(body: dict[str, object]) -> Announced:
    """A file as the browser describes it. Where it knows no HEIC, the name says the type."""
    name, size = str(body.get("name", "")), body.get("size")
    type = str(body.get("type") or "").lower()
    return Announced(name, ALIASES.get(type, type) or type_of(name), size if isinstance(size, int) else 0)


def _refusal(problem: Problem) -> ResponseReturnValue:
    title, text = WORDS.get(problem.code, ("Could not add it", problem.message))
    if isinstance(problem, OverQuota):
        most = problem.details["max"]
        title, text = "The plan is full", f"It has room for {most} photos a property, and all are taken."
    return jsonify(error=problem.code, title=title, text=text), status_of(problem, {OverQuota: 402})
