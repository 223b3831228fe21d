"""Import by link in the gallery editor: the dialog, and retrying failed links."""

from uuid import UUID

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue
from htmx_flask import make_response

from portal.errors import Invalid, OverQuota
from portal.images import imports, properties
from portal.images.imports.lifecycle import MAX_URLS
from portal.pages.gallery_view import find_gallery_view
from portal.pages.htmx import request
from portal.pages.session import current_user, signed_in

blueprint = Blueprint("imports", __name__)


@blueprint.get("/properties/<uuid:uuid>/photos/import")
@signed_in
def form(uuid: UUID) -> str:
    """Return the gallery with the dialog open, for browsers without JavaScript."""
    return render_template("gallery/photos.html", view=find_gallery_view(uuid), importing=True)


@blueprint.post("/properties/<uuid:uuid>/photos/import")
@signed_in
def start(uuid: UUID) -> ResponseReturnValue:
    """Start an import of up to 20 links, one per line; or return the form with the invalid line."""
    user = current_user()
    property = properties.find(user.workspace, str(uuid))
    text = request.form.get("links", "")
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    try:
        imports.start(property, [line for _, line in lines], added_by=user.name or user.email)
    except (Invalid, OverQuota) as error:
        is_fragment = bool(request.htmx)
        template = "gallery/_import.html" if is_fragment else "gallery/photos.html"
        more = {"links": text, "wrong_links": _message(error, [number for number, _ in lines])}
        return render_template(template, view=find_gallery_view(uuid), importing=True, **more), 422
    return _with_progress(uuid, {"import:started": {"links": len(lines)}})


@blueprint.post("/properties/<uuid:uuid>/photos/imports/<uuid:job>/try-again")
@signed_in
def try_again(uuid: UUID, job: UUID) -> ResponseReturnValue:
    """Retry the failed links."""
    property = properties.find(current_user().workspace, str(uuid))
    imports.try_again(imports.find(property, str(job)))
    return _with_progress(uuid, {})


def _with_progress(uuid: UUID, events: dict[str, object]) -> ResponseReturnValue:
    view = find_gallery_view(uuid)
    if not request.htmx:
        return redirect(view.address(), 303)
    answer = render_template("gallery/_counts.html", view=view, keep_polling=True)
    return make_response(answer, trigger=events)


def _message(error: Invalid | OverQuota, lines: list[int]) -> str:
    """Return the error's message with the number of the invalid line, counting empty lines."""
    if error.code == "urls":
        return f"Paste at most {MAX_URLS} links. You pasted {len(lines)}." if lines else "Paste at least one link."
    index = error.details.get("index")
    return f"Line {lines[index]}: {error.message}" if isinstance(index, int) else error.message
