"""Rotation in the gallery editor. Responses contain the photos' updated tiles."""

from uuid import UUID

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue

from portal.errors import Invalid, Problem
from portal.images import edit, properties
from portal.images.originals import OriginalLost
from portal.pages.gallery_view import find_gallery_view
from portal.pages.htmx import request
from portal.pages.session import current_user, signed_in

QUARTER_TURNS = {"1": 1, "2": 2, "3": 3}

blueprint = Blueprint("rotation", __name__)


@blueprint.post("/properties/<uuid:uuid>/photos/rotate")
@signed_in
def rotate(uuid: UUID) -> ResponseReturnValue:
    """Rotate each `photo` clockwise by `turns` quarter turns."""
    quarter_turns = QUARTER_TURNS.get(request.form.get("turns", "1"))
    if quarter_turns is None:
        raise Invalid("A photo can be rotated by 1, 2 or 3 quarter turns clockwise.", code="rotation")
    return rotate_photos(uuid, request.form.getlist("photo"), quarter_turns)


def rotate_photos(uuid: UUID, chosen: list[str], quarter_turns: int) -> ResponseReturnValue:
    """Rotate the selected photos, all or none, and return their tiles. A Problem's message is prefixed accordingly."""
    property = properties.find(current_user().workspace, str(uuid))
    try:
        edit.rotate(property, chosen, quarter_turns)
    except Problem as problem:
        about = f"{problem.name}: " if isinstance(problem, OriginalLost) and len(chosen) > 1 else ""
        problem.message = f"No photo was rotated. {about}{problem.message}"
        raise
    view = find_gallery_view(uuid)
    images = [image for image in view.shown if str(image.uuid) in chosen]
    if not request.htmx:
        return redirect(f"{view.address()}#p-{images[0].uuid}" if images else view.address(), 303)
    return render_template("gallery/_tiles_changed.html", view=view, images=images, own=True)
