"""Upload form without JavaScript. It adds files in the same way as PUT /api/properties/{id}."""

from collections.abc import Mapping
from uuid import UUID

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from portal import config
from portal.errors import Conflict, Invalid, OverQuota, StorageFailed, TooMany
from portal.images import edit
from portal.images.edit import MAX_FILE_COUNT, AddedFile, Change
from portal.images.models import Property
from portal.infra import multipart
from portal.infra.statuses import status_of
from portal.pages.errors import headers_of
from portal.pages.gallery_view import find_gallery_view
from portal.pages.session import current_user, signed_in

blueprint = Blueprint("upload_form", __name__)


@blueprint.get("/properties/<uuid:uuid>/photos/upload")
@signed_in
def form(uuid: UUID) -> ResponseReturnValue:
    return _form(uuid)


@blueprint.post("/properties/<uuid:uuid>/photos/upload")
@signed_in
def upload(uuid: UUID) -> ResponseReturnValue:
    """Add all files or none. On an error, return the form with the reason."""
    view = find_gallery_view(uuid)
    if request.mimetype != multipart.MULTIPART:
        raise UnsupportedMediaType
    try:
        _add(view.property)
    except multipart.FileTooLarge:
        return _form(uuid, f"No photo was added. A photo can be up to {config.settings().max_file_mb} MB.", 413)
    except RequestEntityTooLarge:
        return _form(uuid, "No photo was added. The upload is too large: add fewer photos at a time.", 413)
    except (Invalid, OverQuota, Conflict, TooMany, StorageFailed) as problem:
        return _form(uuid, f"No photo was added. {problem.message}", status_of(problem), headers_of(problem))
    return redirect(view.url, 303)


def _add(property: Property) -> None:
    user = current_user()
    most = config.settings().max_file_bytes
    with multipart.spooled(request, max_files=MAX_FILE_COUNT, max_file_bytes=most) as sent:
        if not sent.files:
            raise Invalid("Choose one or more photos.", code="empty")
        added = [AddedFile(file.read, file.file_name) for file in sent.files]
        try:
            wanted = Change(added=added, added_by=user.name or user.email, leaves_pending=True)
            edit.apply(property, wanted)
        except Invalid as refused:
            index = (refused.details or {}).get("index", -1)
            if 0 <= index < len(added):
                raise Invalid(f"{added[index].file_name}: {refused.message}", code=refused.code) from refused
            raise


def _form(
    uuid: UUID, wrong: str | None = None, status: int = 200, headers: Mapping[str, str] | None = None
) -> ResponseReturnValue:
    most = config.settings().max_file_mb
    page = render_template(
        "gallery/upload.html", view=find_gallery_view(uuid), wrong=wrong, most=most, files=MAX_FILE_COUNT
    )
    return page, status, headers or {}
