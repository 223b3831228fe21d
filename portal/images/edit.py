"""A compound change to a property: delete, rotate, add and arrange images, all or nothing.

This is what the Manage Property Images contract describes; the gallery's rotation uses it too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, select

from portal.db import as_uuid, db
from portal.errors import Conflict, Invalid, NotFound, Problem
from portal.images import deletion, gallery, keys, originals, properties, variants
from portal.images.keys import StoragePrefix
from portal.images.models import PENDING, Image, Property, Rendition
from portal.images.originals import OriginalLost
from portal.images.variants import rendering
from portal.images.variants.rendering import RenderedPhoto, RenderSource
from portal.infra import storage
from portal.inventory import MISSING
from portal.work import Work, work

MAX_FILE_COUNT = 20  # Manage Property Images, "Upload New Images"
QUARTER_TURNS = range(4)  # clockwise; Manage Property Images, "Rotate Images on Upload"


@dataclass(frozen=True)
class AddedFile:
    """A file to add. `read` returns its bytes and may be called more than once."""

    read: Callable[[], bytes]
    file_name: str
    quarter_turns: int = 0  # in addition to the file's EXIF orientation


@dataclass(frozen=True)
class ArrangedImage:
    """An image's new position. `url` is the image's URL before this change, which may rotate it."""

    image_id: int
    url: str
    position: int
    is_main: bool


@dataclass(frozen=True)
class Change:
    """The parts of a change, applied in this order (Manage Property Images, "Best Practices")."""

    deleted: frozenset[int] = frozenset()
    rotated: Mapping[int, int] = field(default_factory=dict)  # image id → clockwise quarter turns
    added: Sequence[AddedFile] = ()
    main_added: int | None = None  # index in `added` of the new cover
    arranged: Sequence[ArrangedImage] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)  # of the property
    added_by: str = ""
    leaves_pending: bool = False  # True: pending variants of images that aren't rotated here are left to the workers


def apply(property: Property, change: Change) -> None:
    """Apply a change and emit one event. Unless `leaves_pending`, pending variants of other images are made as well.

    Those are made because the answer has the URLs of the large variants (Manage Property Images, "Response").

    Raises Invalid for a contradictory change or, with the code rendering.FAILED, for a file that can't become a photo;
    OriginalLost for an image to rotate whose original is gone or not what was stored; NotFound for an image to rotate
    or arrange that isn't in the gallery; Conflict if an image was rotated meanwhile; OverQuota, StorageFailed,
    TooMany. If it raises, nothing has changed.
    """
    _check_consistency(change)
    values = properties.checked(change.fields)
    current = gallery.images(property)
    _check_known(change, current)
    added = len(change.added)
    if added:  # before rendering anything, and again under the lock
        gallery.require_quota(property, added - sum(image.id in change.deleted for image in current))
    sources = [RenderSource(file.read, file.quarter_turns) for file in change.added] + list(_to_render(change, current))
    prefix = StoragePrefix.of(property)
    with work() as w:
        # Render before the first statement, which begins the transaction and takes the lock.
        made = rendering.render_all(w, prefix, sources)
        rows = gallery.lock_images(property)
        _check_known(change, rows)
        before = gallery.state_of(rows)
        kept = _delete(w, rows, change.deleted)
        for rerendered in made[added:]:
            _replace_variants(w, prefix, {image.id: image for image in kept}, rerendered)
        pairs = zip(change.added, made[:added], strict=True)
        fresh = [_image(w, property, prefix, file, photo, change.added_by) for file, photo in pairs if photo]
        order = _arrange(property, kept, fresh, change)
        fields_changed = properties.assign(property, values)
        cover = _cover(order, fresh, change)
        gallery.set_order_and_cover(w, property, before, order, cover, fields_changed=fields_changed)


def rotate(property: Property, uuids: Sequence[str], quarter_turns: int) -> None:
    """Rotate images by clockwise quarter turns; unknown images are skipped. Raises as `apply` does.

    The rotation is relative: if somebody else rotated an image meanwhile, this one is added to theirs.
    """
    wanted = {as_uuid(uuid) for uuid in uuids}
    for tries_left in (2, 1, 0):
        ids = [image.id for image in gallery.images(property) if image.uuid in wanted]
        try:
            return apply(property, Change(rotated=dict.fromkeys(ids, quarter_turns), leaves_pending=True))
        except Problem as problem:
            if not (tries_left and _is_outdated(problem)):
                raise
    return None


def _is_outdated(problem: Problem) -> bool:
    """Return whether somebody rotated or deleted one of the images meanwhile, so that another attempt may succeed."""
    is_missing = isinstance(problem, OriginalLost) and problem.damage == MISSING
    return is_missing or isinstance(problem, Conflict) or problem.code == "image_not_found"


def _check_consistency(change: Change) -> None:
    quarter_turns = [*change.rotated.values(), *(file.quarter_turns for file in change.added)]
    if any(each not in QUARTER_TURNS for each in quarter_turns):
        raise Invalid("A rotation must be 0, 1, 2 or 3 clockwise quarter turns.", code="rotation")
    if change.main_added is not None and not 0 <= change.main_added < len(change.added):
        raise Invalid("The main image must be one of the files in the request.", code="main_image")
    named = [each.image_id for each in change.arranged or ()]
    if len(set(named)) < len(named):
        raise Invalid("Each image may be arranged only once.", code="image_ids")


def _check_known(change: Change, images: Sequence[Image]) -> None:
    """Raise NotFound unless each image to rotate or arrange is in the gallery, isn't deleted, and has the given URL."""
    remaining = {image.id: image for image in images if image.id not in change.deleted}
    for image_id in (*change.rotated, *(each.image_id for each in change.arranged or ())):
        if image_id not in remaining:
            raise NotFound("There is no such photo.", code="image_not_found", details={"id": image_id})
    for each in change.arranged or ():
        if _path(each.url) not in _paths(remaining[each.image_id]):
            raise NotFound("That is not the photo's URL.", code="image_not_found", details={"id": each.image_id})


def _paths(image: Image) -> set[str]:
    urls = [keys.image_url(image)] + ([keys.cdn_url(image.large_key)] if image.large_key else [])
    return {_path(url) for url in urls}


def _path(url: str) -> str:
    """Return a URL's path; the empty string, which is never an image's path, for an invalid URL."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _to_render(change: Change, images: Sequence[Image]) -> Iterable[RenderSource]:
    """Yield the existing images whose variants are made here: those to rotate, and those that are still pending."""
    for image in images:
        quarters = change.rotated.get(image.id, 0)
        is_pending = image.variants == PENDING and not change.leaves_pending
        if image.id not in change.deleted and (quarters or is_pending):
            read = originals.reader(image)
            yield RenderSource(
                read, (image.quarter_turns + quarters) % 4, image.id, image.version, may_fail=not quarters
            )


def _delete(w: Work, rows: Sequence[Image], ids: frozenset[int]) -> list[Image]:
    """Delete images from the gallery; return the remaining ones."""
    deletion.remove(w, [image for image in rows if image.id in ids])
    db.session.flush()
    return [image for image in rows if image.id not in ids]


def _replace_variants(
    w: Work, prefix: StoragePrefix, kept: Mapping[int | None, Image], made: RenderedPhoto | None
) -> None:
    """Give an image its new variants. A rotated image gets a new public key, so that no cache shows the old one."""
    if made is None:
        return None
    image = kept.get(made.source.image_id)
    is_same = image is not None and image.version == made.source.version
    if made.source.may_fail and image and is_same and image.variants == PENDING:
        return variants.swap(w, image, made.variants)
    if made.source.may_fail:  # a worker was faster, or the image was deleted
        return w.drop(storage.cdn, made.variants.large_key, made.variants.thumb_key)
    if image is None or not is_same:
        raise Conflict("Somebody else rotated this photo. Reload the gallery and try again.", code="gallery_changed")
    w.drop(storage.cdn, *db.session.scalars(select(Rendition.key).where(Rendition.image_id == image.id)))
    db.session.execute(delete(Rendition).where(Rendition.image_id == image.id))
    image.started_at = None  # no job rendered these variants
    image.quarter_turns, image.version, image.key = (
        made.source.quarter_turns,
        image.version + 1,
        prefix.original_key(image.type),
    )
    return variants.swap(w, image, made.variants)


def _image(
    w: Work, property: Property, prefix: StoragePrefix, file: AddedFile, made: RenderedPhoto, added_by: str
) -> Image:
    key = prefix.original_key(made.picture.type)
    image = Image(
        uuid=keys.uuid_in(key),
        property_id=property.id,
        key=key,
        original_key=made.original_key,
        file_name=file.file_name,
        type=made.picture.type,
        size_bytes=made.size_bytes,
        sha256=made.sha256,
        quarter_turns=made.source.quarter_turns,
        added_by=added_by,
    )
    variants.swap(w, image, made.variants)
    return image


def _arrange(property: Property, kept: Sequence[Image], fresh: Sequence[Image], change: Change) -> list[Image]:
    """Return the new order: arranged images by position, then the other existing images, then the new ones."""
    if fresh:  # without new images, a gallery that exceeds a reduced plan can still be arranged
        gallery.require_quota(property, len(fresh))
    db.session.add_all(fresh)
    named = sorted(change.arranged or (), key=lambda each: each.position)
    others = {image.id: image for image in kept}
    return [others.pop(each.image_id) for each in named] + list(others.values()) + list(fresh)


def _cover(order: Sequence[Image], fresh: Sequence[Image], change: Change) -> Image | None:
    """Choose the cover; None leaves it unchanged.

    The metadata is applied last and clears the main image first (Manage Property Images, "Reorder Images and Set
    Main"). So a main image that it names wins over `main_added`; of several, the one with the lowest position.
    """
    named = sorted((each for each in change.arranged or () if each.is_main), key=lambda each: each.position)
    if named:
        return next(image for image in order if image.id == named[0].image_id)
    if change.main_added is not None:
        return fresh[change.main_added]
    is_cleared = change.arranged is not None
    return next(iter(order), None) if is_cleared else None
