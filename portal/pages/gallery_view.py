"""What the gallery editor shows: a property's photos under the current filter, and the URLs of the page's parts."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from uuid import UUID

from flask import render_template, request

from portal.images import gallery, imports, originals, properties
from portal.images.imports.lifecycle import Progress
from portal.images.models import FAILED, PENDING, Image, ImportJob, Property
from portal.pages.session import current_user

UNDESCRIBED = "alt"  # `?f=alt`: photos without a description
IMPORTS_SHOWN_FOR = timedelta(hours=1)  # after completion, if a link failed
ONLY_CHARACTERS = "0123456789abcdef-."


@dataclass
class GalleryView:
    """A gallery under the filter and the settings of a request."""

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
            return [image for image in self.images if short_id(image) in chosen]
        return self.undescribed if self.filter == UNDESCRIBED else self.images

    @cached_property
    def is_unfiltered(self) -> bool:
        """Whether all photos are shown; only then can they be reordered."""
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
    def lost(self) -> set[int]:
        """The ids of photos that are the best copy left of a lost original."""
        return originals.lost_among(self.images)

    @cached_property
    def limit(self) -> int:
        return self.property.workspace.plan.images_per_property

    @cached_property
    def url(self) -> str:
        return f"/properties/{self.property.uuid}/photos"

    def address(self, image: Image | None = None) -> str:
        """Return the page's URL with the current filter and, if given, an opened photo."""
        words = [self.query.removeprefix("?")] if self.query else []
        words += [f"photo={image.uuid}"] if image else []
        return f"{self.url}?{'&'.join(words)}" if words else self.url

    def link(self, image: Image) -> str:
        """Return the URL that opens a photo, relative if possible: 300 links add up."""
        address = self.address(image)
        return address.removeprefix(self.url) if request.path == self.url else address

    @cached_property
    def query(self) -> str:
        if self.only:
            return f"?only={self.only}"
        return f"?f={self.filter}" if self.filter else ""

    def neighbours(self, image: Image) -> tuple[Image | None, Image | None]:
        """Return the previous and the next photo among those shown."""
        at = self.shown.index(image) if image in self.shown else -1
        before = self.shown[at - 1] if at > 0 else None
        return before, self.shown[at + 1] if 0 <= at < len(self.shown) - 1 else None

    def next_to_describe(self, image: Image) -> Image | None:
        """Return the next photo to describe under the current filter; after the last, the first one left."""
        _, after = self.neighbours(image)
        left = [other for other in self.shown if other is not image] if self.filter else []
        return None if self.is_unfiltered else after or next(iter(left), None)

    @cached_property
    def imports(self) -> list[tuple[ImportJob, Progress]]:
        """The running imports, and recent ones with failed links."""
        jobs = imports.recent(self.property, IMPORTS_SHOWN_FOR)
        return [(job, imports.progress(job, job.items)) for job in jobs]

    @cached_property
    def is_busy(self) -> bool:
        """Whether photos are being processed or links fetched."""
        return bool(self.waiting) or any(job.completed_at is None for job, _ in self.imports)

    @cached_property
    def state_tag(self) -> str:
        """A tag of the current state, for polling."""
        settled = sum(progress.imported + progress.failed for _, progress in self.imports)
        counts = (len(self.waiting), len(self.failed), len(self.imports), settled, self.hidden_imports)
        return ".".join(map(str, (self.property.gallery_version, *counts)))


def find_gallery_view(uuid: UUID) -> GalleryView:
    """Return the view of a property, with the filter and the settings of this request. Raises NotFound."""
    property = properties.find(current_user().workspace, str(uuid))
    filter = UNDESCRIBED if request.args.get("f") == UNDESCRIBED else ""
    only = "".join(c for c in request.args.get("only", "") if c in ONLY_CHARACTERS)  # it is used in a Location header
    hidden = request.cookies.get("imports", default=0, type=int)
    is_small = request.cookies.get("tiles") == "s"
    return GalleryView(property, gallery.images(property), filter, only, is_small, hidden)


def render_tile(uuid: UUID, image: Image, *, own: bool = False) -> str:
    """Render a photo's tile and everything that counts photos. `own`: the page itself made the change."""
    view = find_gallery_view(uuid)
    return render_template("gallery/_tile_changed.html", view=view, image=image, own=own)


def short_id(image: Image) -> str:
    """Return a short_id id of a photo, unique enough within a gallery, for URLs that list many."""
    return image.uuid.hex[:8]


def only(images: Iterable[Image]) -> str:
    return ".".join(short_id(image) for image in images)
