"""Import by link from the gallery editor: the dialog, and another try for links that failed."""

from uuid import UUID

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue
from htmx_flask import make_response

from portal.errors import Invalid, OverQuota
from portal.images import imports, properties
from portal.images.imports.lifecycle import MAX_URLS
from portal.pages.htmx import request
from portal.pages.session import current_user, signed_in
from portal.pages.sheet import find_sheet

blueprint = Blueprint("imports", __name__)


@blueprint.get("/properties/<uuid:uuid>/photos/import")
@signed_in
def form(uuid: UUID) -> str:
    """The gallery with the dialog open, for those who come without JavaScript."""
    return render_template("gallery/photos.html", sheet=find_sheet(uuid), importing=True)


@blueprint.post("/properties/<uuid:uuid>/photos/import")
@signed_in
def start(uuid: UUID) -> ResponseReturnValue:
    """Accept up to 20 links, one a line; or the form again with the line that is wrong."""
    user = current_user()
    property = properties.find(user.workspace, str(uuid))
    text = request.form.get("links", "")
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    try:
        imports.start(property, [line for _, line in lines], added_by=user.name or user.email)
    except (Invalid, OverQuota) as refusal:
        is_fragment = bool(request.htmx)
        template = "gallery/_import.html" if is_fragment else "gallery/photos.html"
        more = {"links": text, "wrong_links": _words(refusal, [number for number, _ in lines])}
        return render_template(template, sheet=find_sheet(uuid), importing=True, **more), 422
    return _going_on(uuid, {"import:started": {"links": len(lines)}})


@blueprint.post("/properties/<uuid:uuid>/photos/imports/<uuid:job>/try-again")
@signed_in
def try_again(uuid: UUID, job: UUID) -> ResponseReturnValue:
    """Fetch the links that failed once more."""
    property = properties.find(current_user().workspace, str(uuid))
    imports.try_again(imports.find(property, str(job)))
    return _going_on(uuid, {})


def _going_on(uuid: UUID, events: dict[str, object]) -> ResponseReturnValue:
    sheet = find_sheet(uuid)
    if not request.htmx:
        return redirect(sheet.address(), 303)
    answer = render_template("gallery/_counts.html", sheet=sheet, go_on=True)
    return make_response(answer, trigger=events)


def _words(refusal: Invalid | OverQuota, lines: list[int]) -> str:
    """Say which line is wrong, as they are counted in the text: empty ones count, too."""
    if refusal.code == "urls":
        return f"Paste up to {MAX_URLS} links; these are {len(lines)}." if lines else "Paste at least one link."
    index = refusal.details.get("index")
    return f"Line {lines[index]}: {refusal.message}" if isinstance(index, int) else refusal.message
