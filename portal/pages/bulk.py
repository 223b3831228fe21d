"""Bulk actions of the gallery editor: delete with undo, rotate, and describe one photo after another."""

from uuid import UUID

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue
from htmx_flask import make_response

from portal.errors import NotFound
from portal.images import deletion, properties
from portal.pages import rotation
from portal.pages.filters import photo_count
from portal.pages.gallery_view import find_gallery_view, only
from portal.pages.htmx import request
from portal.pages.session import current_user, signed_in

QUARTER_TURNS = {"rotate": 1, "rotate-left": 3}  # a button's value → clockwise quarter turns

blueprint = Blueprint("bulk", __name__)


@blueprint.post("/properties/<uuid:uuid>/photos/bulk")
@signed_in
def bulk(uuid: UUID) -> ResponseReturnValue:
    """Apply the pressed button's action to the selected photos."""
    property = properties.find(current_user().workspace, str(uuid))
    chosen = request.form.getlist("photo")
    if request.form.get("do") == "describe":
        return _describe(uuid, chosen)
    if quarter_turns := QUARTER_TURNS.get(request.form.get("do", "")):
        return rotation.rotate_photos(uuid, chosen, quarter_turns)
    if request.form.get("do") != "delete":
        return redirect(find_gallery_view(uuid).address(), 303)
    deleted, token = deletion.delete(property, chosen, undoable=True)
    view = find_gallery_view(uuid)
    if not request.htmx:
        return redirect(f"{view.url}?undo={token}" if token else view.url, 303)
    toast = {"text": f"Deleted {photo_count(deleted)}."} | ({"undo": f"{view.url}/undo/{token}"} if token else {})
    answer = render_template("gallery/_counts.html", view=view, own=bool(deleted))
    return make_response(answer, trigger={"toast": toast})


@blueprint.post("/properties/<uuid:uuid>/photos/undo/<uuid:token>")
@signed_in
def undo(uuid: UUID, token: UUID) -> ResponseReturnValue:
    """Restore photos that were deleted together."""
    property = properties.find(current_user().workspace, str(uuid))
    try:
        found = deletion.undelete(property, str(token))
    except NotFound as late:
        if not request.htmx:
            raise
        return make_response(late.message, 404, trigger={"toast": {"text": late.message}})
    view = find_gallery_view(uuid)
    if not request.htmx:
        return redirect(view.url, 303)
    toast = {"text": f"Restored {photo_count(found)}.", "life": 4000}
    return make_response(render_template("gallery/_gallery_reloaded.html", view=view), trigger={"toast": toast})


def _describe(uuid: UUID, chosen: list[str]) -> ResponseReturnValue:
    """Open the first selected photo; the inspector then steps through the others."""
    view = find_gallery_view(uuid)
    mine = [image for image in view.images if str(image.uuid) in chosen]
    if not mine:
        return redirect(view.address(), 303)
    return redirect(f"{view.url}?only={only(mine)}&photo={mine[0].uuid}", 303)
