"""Ordering in the gallery editor: move one photo after another or to a position, or make it the cover."""

from uuid import UUID

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue
from htmx_flask import make_response

from portal.errors import Conflict
from portal.images import order, properties
from portal.images.models import Property
from portal.pages.gallery_view import find_gallery_view
from portal.pages.htmx import request
from portal.pages.session import current_user, signed_in

LAST_POSITION = 10**6

blueprint = Blueprint("order", __name__)


@blueprint.post("/properties/<uuid:uuid>/photos/order")
@signed_in
def move(uuid: UUID) -> ResponseReturnValue:
    """Move photo `id` after `after` (none: to the front) or to `position`, counted from 1, or make it the cover.

    An outdated `version` is not rejected, since queued moves carry one. If somebody else has changed the
    gallery, the page learns it from the version in the response.
    """
    property = properties.find(current_user().workspace, str(uuid))
    try:
        _move(property, request.form.get("id", ""))
    except Conflict as conflict:
        if not request.htmx:
            raise
        current = render_template("gallery/_gallery_reloaded.html", view=find_gallery_view(uuid))
        return make_response(current, 409, trigger={"toast": {"text": conflict.message}})
    view = find_gallery_view(uuid)
    if not request.htmx:
        return redirect(f"{view.address()}#p-{request.form['id']}", 303)
    return render_template("gallery/_saved.html", view=view)


def _move(property: Property, photo: str) -> None:
    if request.form.get("do") == "cover":
        return order.make_cover(property, photo)
    position = request.form.get("position", "")
    if position:
        return order.move_to(
            property, photo, int(position) - 1 if position.isdecimal() and len(position) < 7 else LAST_POSITION
        )
    return order.move(property, photo, request.form.get("after") or None)
