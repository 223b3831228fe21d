"""One change of many parts to a property: delete, turn, add and arrange images, all or nothing (seed C)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, select

from portal.db import as_uuid, db
from portal.errors import Conflict, Invalid, NotFound, Problem
from portal.images import deletion, gallery, keys, properties, variants
from portal.images.keys import StoragePrefix
from portal.images.models import PENDING, Image, Property, Rendition
from portal.images.variants import rendering
from portal.images.variants.rendering import RenderedPhoto, Source
from portal.infra import storage
from portal.work import Work, work

MAX_FILE_COUNT = 20  # seed C: "Maximum 20 files total"
TURNS = range(4)  # seed C: 0 = 0°, 1 = 90° clockwise, 2 = 180°, 3 = 270°


@dataclass(frozen=True)
class Added:
    """A file that comes with the change. `read` gives its bytes, as often as they are asked for."""

    read: Callable[[], bytes]
    file_name: str
    quarter_turns: int = 0  # on top of what the file's EXIF says


@dataclass(frozen=True)
class Arranged:
    """Where an image shall stand. `url` is the one that it had before this change (contract.md, C8)."""

    image_id: int
    url: str
    position: int
    is_main: bool


@dataclass(frozen=True)
class Change:
    """What shall happen, in the order of these fields (contract.md, C3)."""

    deleted: frozenset[int] = frozenset()
    turned: Mapping[int, int] = field(default_factory=dict)  # image id → clockwise quarters
    added: Sequence[Added] = ()
    main_added: int | None = None  # which of `added` becomes the cover
    arranged: Sequence[Arranged] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)  # of the property
    added_by: str = ""
    leaves_waiting: bool = False  # to their workers: nobody asks for the variants of other images here


def apply(property: Property, change: Change) -> None:
    """Do all of it, and tell of it once. Images whose variants wait for a worker get them here too (X5).

    Raises Invalid for what makes no sense, NotFound for an image to turn or arrange that isn't here, Invalid
    (making.FAILED) for a file that can't become a photo, OverQuota, Conflict where an image was turned
    meanwhile, StorageFailed, TooMany. Whatever is raised, nothing has changed.
    """
    _demand_sense(change)
    values = properties.checked(change.fields)
    here = gallery.images(property)
    _demand_known(change, here)
    added = len(change.added)
    if added:  # before any pixel is made; under the lock once more
        gallery.demand_room(property, added - sum(image.id in change.deleted for image in here))
    sources = [Source(file.read, file.quarter_turns) for file in change.added] + list(_remade(change, here))
    prefix = StoragePrefix.of(property)
    with work() as w:
        # No statement before the lock: the transaction begins there, and the pixels are made by then.
        made = rendering.render_all(w, prefix, sources)
        rows = gallery.hold(property)
        _demand_known(change, rows)
        before = gallery.state_of(rows)
        kept = _delete(w, rows, change.deleted)
        for remade in made[added:]:
            _renew(w, prefix, {image.id: image for image in kept}, remade)
        done = zip(change.added, made[:added], strict=True)
        fresh = [_image(w, property, prefix, file, its, change.added_by) for file, its in done if its]
        order = _arrange(property, kept, fresh, change)
        is_renamed = properties.assign(property, values)
        gallery.place(w, property, before, order, _cover(order, fresh, change), is_renamed=is_renamed)


def turn(property: Property, uuids: Sequence[str], quarter_turns: int) -> None:
    """Turn some images by clockwise quarters; those that aren't here are skipped. Raises as `apply` does.

    Relative, so that two people's turns both hold: where somebody was faster, it is done on top of theirs.
    """
    wanted = {as_uuid(uuid) for uuid in uuids}
    for tries_left in (2, 1, 0):
        ids = [image.id for image in gallery.images(property) if image.uuid in wanted]
        try:
            return apply(property, Change(turned=dict.fromkeys(ids, quarter_turns), leaves_waiting=True))
        except Problem as problem:
            if not (tries_left and _is_outdated(problem)):
                raise
    return None


def _is_outdated(problem: Problem) -> bool:
    """Whether somebody turned or deleted one of the images meanwhile: the next look will see it."""
    is_missing = isinstance(problem, Invalid) and (problem.details or {}).get("reason") == rendering.MISSING
    return is_missing or isinstance(problem, Conflict) or problem.code == "image_not_found"


def _demand_sense(change: Change) -> None:
    quarter_turns = [*change.turned.values(), *(file.quarter_turns for file in change.added)]
    if any(each not in TURNS for each in quarter_turns):
        raise Invalid("A rotation is 0, 1, 2 or 3 quarters clockwise.", code="rotation")
    if change.main_added is not None and not 0 <= change.main_added < len(change.added):
        raise Invalid("The main image is none of the files that came with the request.", code="main_image")
    named = [one.image_id for one in change.arranged or ()]
    if len(set(named)) < len(named):
        raise Invalid("Each image is arranged once.", code="image_ids")


def _demand_known(change: Change, images: Sequence[Image]) -> None:
    """Each image to be turned or arranged is here, stays here, and has the URL that was said."""
    here = {image.id: image for image in images if image.id not in change.deleted}
    for image_id in (*change.turned, *(one.image_id for one in change.arranged or ())):
        if image_id not in here:
            raise NotFound("There is no such photo.", code="image_not_found", details={"id": image_id})
    for one in change.arranged or ():
        if _path(one.url) not in _paths(here[one.image_id]):
            raise NotFound("That is not the photo's URL.", code="image_not_found", details={"id": one.image_id})


def _paths(image: Image) -> set[str]:
    urls = [keys.image_url(image)] + ([keys.cdn_url(image.large_key)] if image.large_key else [])
    return {_path(url) for url in urls}


def _path(url: str) -> str:
    """A URL without its host and query; of what is no URL, the path of none of ours."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _remade(change: Change, images: Sequence[Image]) -> Iterable[Source]:
    """Choose the images whose variants are made: those that turn, and those that wait for a worker."""
    for image in images:
        quarters = change.turned.get(image.id, 0)
        waits = image.variants == PENDING and not change.leaves_waiting
        if image.id not in change.deleted and (quarters or waits):
            read = rendering.reader(image.original_key)
            yield Source(read, (image.quarter_turns + quarters) % 4, image.id, image.version, may_fail=not quarters)


def _delete(w: Work, rows: Sequence[Image], ids: frozenset[int]) -> list[Image]:
    """Take images out of the gallery; return those that stay."""
    deletion.forget(w, [image for image in rows if image.id in ids])
    db.session.flush()
    return [image for image in rows if image.id not in ids]


def _renew(w: Work, prefix: StoragePrefix, here: Mapping[int | None, Image], made: RenderedPhoto | None) -> None:
    """Have an image show its new variants. A turn has a new public name, so that no cache shows the old one."""
    if made is None:
        return None
    image = here.get(made.source.image_id)
    is_same = image is not None and image.version == made.source.version
    if made.source.may_fail and image and is_same and image.variants == PENDING:
        return variants.swap(w, image, made.variants)
    if made.source.may_fail:  # a worker was first, or it is gone
        return w.drop(storage.cdn, made.variants.large_key, made.variants.thumb_key)
    if image is None or not is_same:
        raise Conflict("The photo was turned by somebody else. Look again, then try again.", code="gallery_changed")
    w.drop(storage.cdn, *db.session.scalars(select(Rendition.key).where(Rendition.image_id == image.id)))
    db.session.execute(delete(Rendition).where(Rendition.image_id == image.id))
    image.started_at = None  # of the job before: this was none
    image.quarter_turns, image.version, image.key = (
        made.source.quarter_turns,
        image.version + 1,
        prefix.original_key(image.type),
    )
    return variants.swap(w, image, made.variants)


def _image(
    w: Work, property: Property, prefix: StoragePrefix, file: Added, made: RenderedPhoto, added_by: str
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
    """Put the named ones first, by position, the others behind them, new ones last (C5, C15)."""
    if fresh:  # a gallery that is over its plan by now can still be put in order (reliability.md, C14)
        gallery.demand_room(property, len(fresh))
    db.session.add_all(fresh)
    named = sorted(change.arranged or (), key=lambda one: one.position)
    here = {image.id: image for image in kept}
    return [here.pop(one.image_id) for one in named] + list(here.values()) + list(fresh)


def _cover(order: Sequence[Image], fresh: Sequence[Image], change: Change) -> Image | None:
    """Choose the cover (C6): whom the metadata names, else the new one; None leaves it to whom it was."""
    named = sorted((one for one in change.arranged or () if one.is_main), key=lambda one: one.position)
    if named:
        return next(image for image in order if image.id == named[0].image_id)
    if change.main_added is not None:
        return fresh[change.main_added]
    is_cleared = change.arranged is not None  # seed C: "all images … are first set to isMain: false"
    return next(iter(order), None) if is_cleared else None
