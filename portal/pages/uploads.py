"""Uploads from the gallery editor: presign, confirm and cancel, with a short text for each error."""

from uuid import UUID

from flask import Blueprint, jsonify, redirect, render_template
from flask.typing import ResponseReturnValue
from htmx_flask import make_response

from portal.errors import NotFound, OverQuota, Problem
from portal.images import properties, uploads
from portal.images.models import Property
from portal.images.uploads import AnnouncedFile, UploadedFile, cancellation
from portal.infra.statuses import status_of
from portal.pages.errors import headers_of
from portal.pages.gallery_view import find_gallery_view, render_tile
from portal.pages.htmx import request
from portal.pages.session import current_user, signed_in
from portal.pixels.types import type_of

ALIASES = {"image/heif": "image/heic", "image/jpg": "image/jpeg"}  # other names that browsers use

# The title and the text of a tile, by error code. Other codes show the problem's message.
ERROR_TEXTS = {
    "content_type_not_allowed": ("Unsupported file type", "Use JPEG, PNG, WebP or HEIC."),
    "too_large": ("Over 10 MB", "Save a smaller copy and add that."),
    "empty": ("The file is empty", "Export it again and add the new file."),
    "file_name": ("The file name is too long", "Use at most 255 characters."),
    "content_mismatch": ("Wrong file type", "The file’s content doesn’t match its name. Save it as a JPEG."),
    "too_many_outstanding": ("Too many unfinished uploads", "Wait an hour, then try again."),
    "storage_unavailable": ("The photo storage doesn’t answer", "Nothing was lost. Try again in a minute."),
    "property_not_found": ("Property not found", "Somebody deleted it. Go back to your properties."),
}

blueprint = Blueprint("uploads", __name__)


@blueprint.post("/properties/<uuid:uuid>/uploads")
@signed_in
def presign(uuid: UUID) -> ResponseReturnValue:
    """Presign an upload of one file: {name, type, size} → {url, headers, key, done, cancel}."""
    try:
        body = request.get_json(silent=True)
    except RecursionError:  # thousands of nested brackets
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
    """Confirm an uploaded file and return its tile."""
    try:
        property = _find(uuid)
        upload = uploads.find_upload(property, request.form.get("key", ""))
        if upload is None:
            raise NotFound("This upload has expired. Add the photo again.", code="unknown_key")
        file = UploadedFile(upload.key, upload.content_type, upload.size_bytes)
        (confirmed,) = uploads.confirm(property, [file], added_by=current_user().name or current_user().email)
    except Problem as problem:
        return _refusal(problem)
    return render_tile(uuid, confirmed.image, own=True)


@blueprint.post("/properties/<uuid:uuid>/uploads/cancel")
@signed_in
def cancel(uuid: UUID) -> ResponseReturnValue:
    """Cancel an upload, even one that is being confirmed or has just become a photo."""
    file_name = cancellation.cancel(_find(uuid), request.form.get("key", ""))
    view = find_gallery_view(uuid)
    if not request.htmx:
        return redirect(view.url, 303)
    toast = {"toast": {"text": f"Cancelled {file_name}.", "life": 4000}} if file_name else None
    return make_response(render_template("gallery/_counts.html", view=view), trigger=toast)


def _find(uuid: UUID) -> Property:
    return properties.find(current_user().workspace, str(uuid))


def _announced(body: dict[str, object]) -> AnnouncedFile:
    """Return the file that the browser describes. If it doesn't know the type (HEIC), the name decides."""
    name, size = str(body.get("name", "")), body.get("size")
    type = str(body.get("type") or "").lower()
    return AnnouncedFile(name, ALIASES.get(type, type) or type_of(name), size if isinstance(size, int) else 0)


def _refusal(problem: Problem) -> ResponseReturnValue:
    title, text = ERROR_TEXTS.get(problem.code, ("Could not add the photo", problem.message))
    if isinstance(problem, OverQuota):
        most = problem.details["max"]
        title, text = "Photo limit reached", f"Your plan allows {most} photos per property."
    return (
        jsonify(error=problem.code, title=title, text=text),
        status_of(problem, {OverQuota: 402}),
        headers_of(problem),
    )
