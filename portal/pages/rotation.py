"""Turning photos from the gallery editor: the answer brings their tiles as they are now."""

import json
from uuid import UUID

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from portal.errors import Conflict, Invalid, StorageFailed, TooMany
from portal.images import change, properties
from portal.pages.session import current_user, signed_in
from portal.pages.sheet import find_sheet

blueprint = Blueprint("rotation", __name__)


@blueprint.post("/properties/<uuid:uuid>/photos/rotate")
@signed_in
def rotate(uuid: UUID) -> ResponseReturnValue:
    """Turn each `photo` by `turns` quarters clockwise."""
    turns = request.form.get("turns", "1")
    return turned(uuid, request.form.getlist("photo"), int(turns) if turns in ("1", "2", "3") else -1)


def turned(uuid: UUID, chosen: list[str], turns: int) -> ResponseReturnValue:
    """Turn the chosen photos, all or none, and answer with their tiles; a refusal is a toast over what was."""
    property = properties.find(current_user().workspace, str(uuid))
    is_fragment, headers = request.headers.get("HX-Request"), {}
    try:
        change.turn(property, chosen, turns)
    except (Invalid, Conflict, TooMany, StorageFailed) as refusal:
        if not is_fragment:
            raise
        headers["HX-Trigger"] = json.dumps({"toast": {"text": f"Nothing was turned. {refusal.message}"}})
    sheet = find_sheet(uuid)
    images = [image for image in sheet.shown if str(image.uuid) in chosen]
    if not is_fragment:
        return redirect(f"{sheet.address()}#p-{images[0].uuid}" if images else sheet.address(), 303)
    if headers:
        return "", 409, headers
    return render_template("gallery/_tiles_changed.html", sheet=sheet, images=images, own=True)
