"""The sheet: what the gallery editor shows of a gallery, in which filter, and how each part of it is addressed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from uuid import UUID

from flask import render_template, request

from portal.images import gallery, imports, properties
from portal.images.imports.lifecycle import Progress
from portal.images.models import FAILED, PENDING, Image, ImportJob, Property
from portal.pages.session import current_user

UNDESCRIBED = "alt"  # the word of `?f=` for photos without a description
IMPORTS_SHOWN_FOR = timedelta(hours=1)  # after their end, where a link failed
ONLY_CHARACTERS = "0123456789abcdef-."


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


def find_sheet(uuid: UUID) -> Sheet:
    """Return the gallery of this address as the reader wants to see it. Raises NotFound."""
    property = properties.find(current_user().workspace, str(uuid))
    filter = UNDESCRIBED if request.args.get("f") == UNDESCRIBED else ""
    only = "".join(c for c in request.args.get("only", "") if c in ONLY_CHARACTERS)  # it goes into a Location
    hidden = request.cookies.get("imports", default=0, type=int)
    is_small = request.cookies.get("tiles") == "s"
    return Sheet(property, gallery.images(property), filter, only, is_small, hidden)


def render_tile(uuid: UUID, image: Image, *, own: bool = False) -> str:
    """One tile as it is now, and beside it what counts the photos. `own`: it is a change of this page's."""
    sheet = find_sheet(uuid)
    return render_template("gallery/_tile_changed.html", sheet=sheet, image=image, own=own)


def short(image: Image) -> str:
    """A photo's name in an address that names many: enough of it to be told from the others here."""
    return image.uuid.hex[:8]


def only(images: Iterable[Image]) -> str:
    return ".".join(short(image) for image in images)
