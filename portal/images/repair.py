"""Make a photo's missing or changed objects again, from its original or, if that is lost, from what is left.

An object goes back under its key only if its bytes are those that were stored. Otherwise it gets a new key, and the
old one stays in the inventory as replaced. The caller holds a rendering slot.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import select

from portal import inventory
from portal.db import db, now, release
from portal.errors import NotFound
from portal.images import gallery, originals
from portal.images.keys import StoragePrefix, rendition_key
from portal.images.models import READY, Image, Property, Rendition
from portal.images.variants import rendering
from portal.images.variants.renditions import GONE, RenditionSource
from portal.infra import storage
from portal.inventory import LARGE, ORIGINAL, RENDITION, THUMB, Facts, Written
from portal.pixels.derive import RenditionRecipe, VariantsRecipe, pipeline
from portal.pixels.inspect import inspect
from portal.pixels.render import Rendered
from portal.work import Work, lock, work


class _Variants(NamedTuple):
    """An image's state when its repair began, as plain values."""

    version: int
    quarter_turns: int
    original_key: str
    sha256: str
    large_key: str
    thumb_key: str
    prefix: StoragePrefix


def repair_variants(image: Image, *, announces: bool = True, undecodable: str | None = None) -> bool:
    """Make those of an image's variants again that are damaged; return whether one got a new address.

    Then property.updated is emitted, unless the caller does it. `undecodable` is the key of a variant that is damaged
    although no hash says so. Raises Invalid if the original is lost too, NotFound if the image was changed or deleted
    meanwhile, StorageFailed.
    """
    before = _state(image)
    known = inventory.facts(storage.cdn, [before.large_key, before.thumb_key])
    release()  # no transaction stays open while rendering
    damaged = [facts for facts in known.values() if facts.key == undecodable or inventory.damage_in(storage.cdn, facts)]
    if not damaged:
        with work():
            inventory.mark(storage.cdn, dict.fromkeys(known))
        return False
    data = originals.read(before.original_key, before.sha256)
    rendered = rendering.derived(data, inspect(data), VariantsRecipe(before.quarter_turns))
    with work() as w:
        written = [_put_again(w, facts, rendered, before.prefix) for facts in damaged]
        has_moved, is_current = False, _is_still(image, before)
        if is_current:
            for old, new in zip(damaged, written, strict=True):
                has_moved |= _switch(w, image, old, new)
        else:
            _take_back(w, written, damaged)
        if has_moved and announces:
            gallery.emit_updated(w, db.session.get_one(Property, image.property_id))
    if not is_current:  # only now, as the exception would also undo the drops
        raise NotFound(GONE, code="image_not_found")
    return has_moved


def repair_rendition(rendition: Rendition, *, announces: bool = True, is_undecodable: bool = False) -> bool:
    """Make a damaged rendition again, and the large variant too if that is damaged; return whether its key changed.

    `is_undecodable`: it is damaged although no hash says so. Raises as `repair_variants` does.
    """
    image = db.session.get_one(Image, rendition.image_id)
    known = inventory.find(storage.cdn, rendition.key)
    id, old_key, width, type = rendition.id, rendition.key, rendition.width, rendition.type
    source = RenditionSource.of(image)
    if known is None:
        raise NotFound(GONE, code="image_not_found")
    release()
    if not is_undecodable and inventory.damage_in(storage.cdn, known) is None:  # another thread was faster
        with work():
            inventory.mark(storage.cdn, {old_key: None})
        return False
    try:
        data = source.read()
    except inventory.Damaged:
        repair_variants(image, announces=announces)
        source = RenditionSource.of(image)
        release()
        data = source.read()
    made = rendering.derived(data, inspect(data), RenditionRecipe(width, type, source.quarter_turns))
    with work() as w:
        is_same = inventory.digest(made.data) == known.sha256
        key = old_key if is_same else rendition_key(source.uuid, width, type)
        if is_same:
            written = inventory.write(storage.cdn, key, made.data, type, RENDITION, pipeline())
        else:
            written = w.put(storage.cdn, key, made.data, type, RENDITION, pipeline=pipeline())
        # The image first: deleting or rotating it drops the renditions that it finds under the image's lock.
        row = db.session.get(Rendition, id) if lock(image) else None
        is_current = row is not None and lock(row) and row.key == old_key
        if row is None or not is_current:
            _take_back(w, [written], [known])
        elif is_same:
            w.record(written)
        else:
            row.key, row.size_bytes = key, len(made.data)
            inventory.replace(storage.cdn, old_key, key)
    if not is_current:
        raise NotFound(GONE, code="image_not_found")
    return not is_same


def restore_original(image: Image, *, announces: bool = True) -> None:
    """Give an image whose original is lost a copy of its large variant as the original.

    The row is marked: the pixels beyond the large variant's size are lost for good. Raises Damaged, NotFound,
    StorageFailed.
    """
    before = _state(image)
    large = inventory.find(storage.cdn, before.large_key)
    release()
    if large is None:
        raise NotFound(GONE, code="image_not_found")
    data = inventory.verified(storage.cdn, large)
    picture = inspect(data)
    with work() as w:
        key = before.prefix.original_key(picture.type)
        original = w.put(storage.uploads, key, data, picture.type, ORIGINAL)
        if not _is_still(image, before):
            raise NotFound(GONE, code="image_not_found")
        # What is left under the old key may be somebody's last chance: no row names it now, and it is kept as unknown.
        inventory.remove([(storage.uploads.role, before.original_key)])
        image.original_key, image.sha256, image.size_bytes = key, original.sha256, original.size_bytes
        image.type, image.width, image.height = picture.type, picture.width, picture.height
        image.quarter_turns, image.original_restored_at = 0, now()
        if announces:
            gallery.emit_updated(w, db.session.get_one(Property, image.property_id))


def image_of(key: str, kind: str) -> Image | None:
    """Return the image that an object of this kind belongs to."""
    by_key = {ORIGINAL: Image.original_key == key, LARGE: Image.large_key == key, THUMB: Image.thumb_key == key}
    if kind == RENDITION:
        return db.session.scalar(select(Image).join(Rendition).where(Rendition.key == key))
    return db.session.scalar(select(Image).where(by_key[kind])) if kind in by_key else None


def rendition_of(key: str) -> Rendition | None:
    return db.session.scalar(select(Rendition).where(Rendition.key == key))


def _state(image: Image) -> _Variants:
    if image.variants != READY or not image.large_key or not image.thumb_key:
        raise NotFound("This photo's variants are not ready.", code="image_not_found")
    prefix = StoragePrefix.of(db.session.get_one(Property, image.property_id))
    return _Variants(
        image.version,
        image.quarter_turns,
        image.original_key,
        image.sha256,
        image.large_key,
        image.thumb_key,
        prefix,
    )


def _is_still(image: Image, before: _Variants) -> bool:
    """Lock an image; return whether it is as it was when its repair began."""
    with suppress(NotFound):
        return lock(image) and _state(image) == before
    return False


def _put_again(w: Work, facts: Facts, rendered: Rendered, prefix: StoragePrefix) -> Written:
    """Write a variant under its own key if it is the same again, else under a fresh one."""
    made = rendered.large if facts.kind == LARGE else rendered.thumb
    if inventory.digest(made.data) == facts.sha256:
        return inventory.write(storage.cdn, facts.key, made.data, made.type, facts.kind, pipeline())
    large_key, thumb_key = prefix.variant_keys()
    key = large_key if facts.kind == LARGE else thumb_key
    return w.put(storage.cdn, key, made.data, made.type, facts.kind, pipeline=pipeline())


def _take_back(w: Work, written: Sequence[Written], damaged: Sequence[Facts]) -> None:
    """Drop what was written for an image that changed meanwhile, but not an object that a row still names.

    Without this, an object that went back under its own key would outlive the photo's deletion.
    """
    named = inventory.facts(storage.cdn, [facts.key for facts in damaged])
    w.drop(storage.cdn, *(each.key for each in written if each.key not in named))


def _switch(w: Work, image: Image, old: Facts, new: Written) -> bool:
    """Have the row name a variant that was made again; return whether its key is another one."""
    if new.key == old.key:
        w.record(new)
        return False
    if old.kind == LARGE:
        image.large_key, image.large_size_bytes = new.key, new.size_bytes
    else:
        image.thumb_key = new.key
    inventory.replace(storage.cdn, old.key, new.key)
    return True
