"""The gallery editor: the photo grid, a single opened photo, and polling for changes."""

from uuid import UUID

from flask import Blueprint, Response, redirect, render_template
from flask.typing import ResponseReturnValue
from htmx_flask import make_response

from portal.db import now
from portal.errors import Invalid, NotFound
from portal.images import gallery, imports, keys, properties, variants
from portal.images.models import Image, Property
from portal.pages.gallery_view import find_gallery_view, render_tile
from portal.pages.htmx import request
from portal.pages.session import current_user, signed_in

LARGEST_PX = 1280  # in the grid; the viewer may use the largest rendition

blueprint = Blueprint("gallery", __name__)


@blueprint.app_template_global()
def image_url(image: Image, width_px: int) -> str:
    return keys.image_url(image, width_px)


blueprint.add_app_template_global(now, "now")


@blueprint.app_template_global()
def srcset(image: Image, largest_px: int = LARGEST_PX) -> str:
    """Return the `srcset` of a photo: all widths up to the first one that is at least the photo's own width."""
    steps = [step for step in keys.RENDITION_WIDTHS if step <= largest_px]
    fitting = [step for step in steps if step < image.width]
    return ", ".join(f"{keys.image_url(image, step)} {step}w" for step in steps[: len(fitting) + 1])


@blueprint.get("/properties/<uuid:uuid>/photos")
@signed_in
def photos(uuid: UUID) -> str:
    """Return the page; for htmx, the opened photo or the filtered grid."""
    view = find_gallery_view(uuid)
    name = request.args.get("photo")
    opened = gallery.find(view.property, name) if name else None
    if request.headers.get("HX-Request-Type") != "partial":
        undo = request.args.get("undo", type=UUID)
        return render_template("gallery/photos.html", view=view, image=opened, undo=undo)
    return render_template("gallery/_photo.html" if opened else "gallery/_gallery.html", view=view, image=opened)


@blueprint.post("/properties/<uuid:uuid>/photos/<uuid:photo>")
@signed_in
def describe(uuid: UUID, photo: UUID) -> ResponseReturnValue:
    """Save a description. Return the photo's tile and, if requested, the next photo; or the form with its error."""
    view = find_gallery_view(uuid)
    before = gallery.find(view.property, str(photo))
    next_one = view.next_to_describe(before) if request.form.get("then") == "next" else None
    # Browsers submit line breaks as CRLF, but count them as one character.
    text = request.form.get("alt", "").replace("\r\n", "\n")
    try:
        image = gallery.describe(view.property, str(photo), text)
    except Invalid as error:
        return _describe_again(uuid, before, text, error)
    view = find_gallery_view(uuid)
    if not request.htmx:
        return redirect(view.address(next_one) if next_one else f"{view.address()}#p-{photo}", 303)
    if next_one:
        event = {"photo:next": {"address": view.address(next_one)}}
        answer = render_tile(uuid, image, own=True) + render_template("gallery/_next.html", view=view, image=next_one)
        return make_response(answer, trigger=event)
    return make_response(render_tile(uuid, image, own=True), trigger={"photo:saved": {"id": f"p-{photo}"}})


@blueprint.post("/properties/<uuid:uuid>/photos/<uuid:photo>/try-again")
@signed_in
def try_again(uuid: UUID, photo: UUID) -> ResponseReturnValue:
    image = gallery.find(properties.find(current_user().workspace, str(uuid)), str(photo))
    variants.try_again(image)
    if not request.htmx:
        return redirect(f"{find_gallery_view(uuid).address()}#p-{photo}", 303)
    return render_tile(uuid, image, own=True)


@blueprint.get("/properties/<uuid:uuid>/photos/progress")
@signed_in
def progress(uuid: UUID) -> ResponseReturnValue:
    """Answer the page's poll: 304 if nothing has changed, otherwise the summary and the changed tiles.

    The page sends the tiles that it shows as processing, so that none of them is left behind.
    """
    view = find_gallery_view(uuid)
    seen = request.headers.get("HX-PTag", "")
    no_longer_waiting = set(request.args.getlist("waiting")) - {str(image.uuid) for image in view.waiting}
    finished = [image for image in view.shown if str(image.uuid) in no_longer_waiting]
    if not finished and seen == view.state_tag:
        return Response(status=304)
    events: dict[str, object] = {}
    if seen and seen.split(".")[0] != str(view.property.gallery_version):
        events["photos:changed"] = {}  # maybe by somebody else: the page reloads the grid
    if ended := _ended(view.property):
        events["imports:ended"] = {"text": ended}
    answer = make_response(render_template("gallery/_progress.html", view=view, finished=finished), trigger=events)
    answer.headers["HX-PTag"] = view.state_tag
    return answer


def _ended(property: Property) -> str:
    """Return a sentence for each completed import that the page still shows as running."""
    sentences = []
    for uuid in request.args.getlist("importing")[:9]:
        try:
            job = imports.find(property, uuid)
        except NotFound:
            continue
        if job.completed_at:
            progress = imports.progress(job, imports.items(job))
            of_total = f" of {progress.total}" if progress.failed else ""
            sentences.append(f"Imported {progress.imported}{of_total} {'photo' if progress.total == 1 else 'photos'}.")
    return " ".join(sentences)


def _describe_again(uuid: UUID, image: Image, text: str, error: Invalid) -> ResponseReturnValue:
    more = {"view": find_gallery_view(uuid), "image": image, "text": text, "wrong": error.message}
    is_fragment = bool(request.htmx)
    return render_template("gallery/_inspector.html" if is_fragment else "gallery/photos.html", **more), 422
