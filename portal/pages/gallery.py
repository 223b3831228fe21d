"""The gallery editor: the sheet of photos, one photo opened, and the browser's own uploads."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from uuid import UUID

from flask import Blueprint, Response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from portal.db import now
from portal.errors import Invalid, NotFound
from portal.images import gallery, imports, keys, properties, variants
from portal.images.imports import Progress
from portal.images.models import FAILED, PENDING, Image, ImportJob, Property
from portal.pages.session import current_user, signed_in

UNDESCRIBED = "alt"  # the word of `?f=` for photos without a description
IMPORTS_SHOWN_FOR = timedelta(hours=1)  # after their end, where a link failed
LARGEST_PX = 1280  # in the sheet; the viewer goes to the top of the ladder

ONLY_CHARACTERS = "0123456789abcdef-."

blueprint = Blueprint("gallery", __name__)


@dataclass
class Sheet:
    """What the page shows of a gallery, and how."""

    property: Property
    images: list[Image]
    filter: str = ""
    only: str = ""
    small: bool = False
    hidden_imports: int = 0

    @cached_property
    def shown(self) -> list[Image]:
        if self.only:
            chosen = set(self.only.split("."))
            return [image for image in self.images if short(image) in chosen]
        return self.undescribed if self.filter == UNDESCRIBED else self.images

    @cached_property
    def is_whole(self) -> bool:
        """Whether every photo is shown: only then can they be put in another order by hand."""
        return not (self.filter or self.only)

    @cached_property
    def undescribed(self) -> list[Image]:
        return [image for image in self.images if not image.alt_text]

    @cached_property
    def waiting(self) -> list[Image]:
        return [image for image in self.images if image.variants == PENDING]

    @cached_property
    def failed(self) -> list[Image]:
        return [image for image in self.images if image.variants == FAILED]

    @cached_property
    def limit(self) -> int:
        return self.property.workspace.plan.images_per_property

    @cached_property
    def url(self) -> str:
        return f"/properties/{self.property.uuid}/photos"

    def address(self, image: Image | None = None) -> str:
        """The page's address in this filter, with a photo opened or without one."""
        words = [self.query.removeprefix("?")] if self.query else []
        words += [f"photo={image.uuid}"] if image else []
        return f"{self.url}?{'&'.join(words)}" if words else self.url

    def link(self, image: Image) -> str:
        """The same for the photos of the sheet: 300 links are shorter without the path that the page has itself."""
        address = self.address(image)
        return address.removeprefix(self.url) if request.path == self.url else address

    @cached_property
    def query(self) -> str:
        if self.only:
            return f"?only={self.only}"
        return f"?f={self.filter}" if self.filter else ""

    def around(self, image: Image) -> tuple[Image | None, Image | None]:
        """The photos before and after this one, as shown."""
        at = self.shown.index(image) if image in self.shown else -1
        before = self.shown[at - 1] if at > 0 else None
        return before, self.shown[at + 1] if 0 <= at < len(self.shown) - 1 else None

    def next_to_describe(self, image: Image) -> Image | None:
        """Where photos are described in a row: the one after this; from the last, what was left out."""
        _, after = self.around(image)
        left = [other for other in self.shown if other is not image] if self.filter else []
        return None if self.is_whole else after or next(iter(left), None)

    @cached_property
    def imports(self) -> list[tuple[ImportJob, Progress]]:
        """The imports that are under way, or ended lately with a link that failed."""
        jobs = imports.recent(self.property, IMPORTS_SHOWN_FOR)
        return [(job, imports.progress(job, job.items)) for job in jobs]

    @cached_property
    def is_moving(self) -> bool:
        """Whether something changes by itself: a photo is being made, or a link fetched."""
        return bool(self.waiting) or any(job.completed_at is None for job, _ in self.imports)

    @cached_property
    def tag(self) -> str:
        """Which state this is, for the poll."""
        settled = sum(progress.imported + progress.failed for _, progress in self.imports)
        counts = (len(self.waiting), len(self.failed), len(self.imports), settled, self.hidden_imports)
        return ".".join(map(str, (self.property.gallery_version, *counts)))


@blueprint.app_template_global()
def image_url(image: Image, width_px: int) -> str:
    return keys.image_url(image, width_px)


blueprint.add_app_template_global(now, "now")


@blueprint.app_template_global()
def srcset(image: Image, largest_px: int = LARGEST_PX) -> str:
    """Every width of the ladder that a browser may want, up to the first that holds the whole photo."""
    steps = [step for step in keys.LADDER if step <= largest_px]
    fitting = [step for step in steps if step < image.width]
    return ", ".join(f"{keys.image_url(image, step)} {step}w" for step in steps[: len(fitting) + 1])


def short(image: Image) -> str:
    """A photo's name in an address that names many: enough of it to be told from the others here."""
    return image.uuid.hex[:8]


def only(images: Iterable[Image]) -> str:
    return ".".join(short(image) for image in images)


@blueprint.get("/properties/<uuid:uuid>/photos")
@signed_in
def photos(uuid: UUID) -> str:
    """The page; for htmx the opened photo, or the sheet in another filter."""
    sheet = find_sheet(uuid)
    name = request.args.get("photo")
    opened = gallery.find(sheet.property, name) if name else None
    if request.headers.get("HX-Request-Type") != "partial":
        undo = request.args.get("undo", type=UUID)
        return render_template("gallery/photos.html", sheet=sheet, image=opened, undo=undo)
    return render_template("gallery/_photo.html" if opened else "gallery/_sheet.html", sheet=sheet, image=opened)


@blueprint.post("/properties/<uuid:uuid>/photos/<uuid:photo>")
@signed_in
def describe(uuid: UUID, photo: UUID) -> ResponseReturnValue:
    """Save a description: the tile comes back, with the next photo where one is asked for; or the form again."""
    sheet = find_sheet(uuid)
    before = gallery.find(sheet.property, str(photo))
    next_one = sheet.next_to_describe(before) if request.form.get("then") == "next" else None
    # A browser sends each line end as two characters, but counts it as one.
    text = request.form.get("alt", "").replace("\r\n", "\n")
    try:
        image = gallery.describe(sheet.property, str(photo), text)
    except Invalid as refusal:
        return _describe_again(before, text, refusal)
    sheet = find_sheet(uuid)
    if not request.headers.get("HX-Request"):
        return redirect(sheet.address(next_one) if next_one else f"{sheet.address()}#p-{photo}", 303)
    if next_one:
        event = {"photo:next": {"address": sheet.address(next_one)}}
        answer = render_tile(image, own=True) + render_template("gallery/_next.html", sheet=sheet, image=next_one)
        return answer, {"HX-Trigger": json.dumps(event)}
    return render_tile(image, own=True), {"HX-Trigger": json.dumps({"photo:saved": {"id": f"p-{photo}"}})}


@blueprint.post("/properties/<uuid:uuid>/photos/<uuid:photo>/try-again")
@signed_in
def try_again(uuid: UUID, photo: UUID) -> ResponseReturnValue:
    image = gallery.find(_find(uuid), str(photo))
    variants.try_again(image)
    if not request.headers.get("HX-Request"):
        return redirect(f"{find_sheet(uuid).address()}#p-{photo}", 303)
    return render_tile(image)


@blueprint.get("/properties/<uuid:uuid>/photos/progress")
@signed_in
def progress(uuid: UUID) -> ResponseReturnValue:
    """The page's one poll: 304 while nothing has moved, else the tray and each tile that has.

    The page says which tiles it shows as processing, so that none stays so whatever came in between.
    """
    sheet = find_sheet(uuid)
    seen = request.headers.get("HX-PTag", "")
    asked = set(request.args.getlist("waiting")) - {str(image.uuid) for image in sheet.waiting}
    moved = [image for image in sheet.shown if str(image.uuid) in asked]
    if not moved and seen == sheet.tag:
        return Response(status=304)
    answer = Response(render_template("gallery/_progress.html", sheet=sheet, moved=moved))
    answer.headers["HX-PTag"] = sheet.tag
    events: dict[str, object] = {}
    if seen and seen.split(".")[0] != str(sheet.property.gallery_version):
        events["photos:changed"] = {}  # by somebody else: the page fetches the sheet anew
    if ended := _ended(sheet.property):
        events["imports:ended"] = {"text": ended}
    if events:
        answer.headers["HX-Trigger"] = json.dumps(events)
    return answer


def _ended(property: Property) -> str:
    """Say how the imports ended that the page still shows as going on."""
    said = []
    for uuid in request.args.getlist("importing")[:9]:
        try:
            job = imports.find(property, uuid)
        except NotFound:
            continue
        if job.completed_at:
            progress = imports.progress(job, imports.items(job))
            of = f" of {progress.total}" if progress.failed else ""
            said.append(f"Imported {progress.imported}{of} {'photo' if progress.total == 1 else 'photos'}.")
    return " ".join(said)


def find_sheet(uuid: UUID) -> Sheet:
    """Return the gallery of this address as the reader wants to see it. Raises NotFound."""
    property = _find(uuid)
    filter = UNDESCRIBED if request.args.get("f") == UNDESCRIBED else ""
    only = "".join(c for c in request.args.get("only", "") if c in ONLY_CHARACTERS)  # it goes into a Location
    hidden = request.cookies.get("imports", default=0, type=int)
    is_small = request.cookies.get("tiles") == "s"
    return Sheet(property, gallery.images(property), filter, only, is_small, hidden)


def render_tile(image: Image, *, own: bool = False) -> str:
    """One tile as it is now, and beside it what counts the photos. `own`: it is a change of this page's."""
    sheet = find_sheet(image.property.uuid)
    return render_template("gallery/_tile_changed.html", sheet=sheet, image=image, own=own)


def _find(uuid: UUID) -> Property:
    return properties.find(current_user().workspace, str(uuid))


def _describe_again(image: Image, text: str, refusal: Invalid) -> ResponseReturnValue:
    more = {"sheet": find_sheet(image.property.uuid), "image": image, "text": text, "wrong": refusal.message}
    is_fragment = request.headers.get("HX-Request")
    return render_template("gallery/_inspector.html" if is_fragment else "gallery/photos.html", **more), 422
