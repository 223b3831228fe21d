"""Fetching what was imported: a few at a time from each host and for each workspace, so nobody waits for others."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from portal import errands, jobs, remote, storage
from portal.db import db, now
from portal.errands import Shares, Turn
from portal.errors import Invalid, OverQuota, StorageFailed, TooMany
from portal.images import gallery, imports, uploads
from portal.images.keys import Place, uuid_in
from portal.images.models import PENDING, Image, ImportItem, ImportJob, Property
from portal.pixels.inspect import Picture, inspect
from portal.work import held, lock, work

MAX_BYTES = uploads.MAX_SIZE_BYTES
DEADLINE_S = 20  # for one URL, everything included (reliability.md, A21)
LEASE = timedelta(seconds=60)  # an item whose worker died is due again then
SHARES = Shares(side_by_side=16, per_place=4, per_workspace=8)  # a place is a host (cases A28, H7)
CANDIDATES, PER_WORKSPACE = 1000, 40  # that are looked at for each choice
RETRY_AFTER_S = (2, 10)
MAX_ATTEMPTS = 10  # interruptions included


@dataclass(frozen=True)
class _Errand:
    """An item as plain values: it is fetched in a thread, without the database."""

    item_id: int
    url: str
    copy_key: str | None
    place: Place
    attempts: int


@dataclass(frozen=True)
class _Found:
    """What lies behind a URL, inspected; or why it can't be had."""

    data: bytes = b""
    picture: Picture | None = None
    code: str = ""
    message: str = ""
    again_in_s: float | None = None
    is_ours: bool = False  # the fault: the attempt does not count


BROKEN = _Found(code="internal", message="Something went wrong on our side.")


def run() -> int:
    """Fetch what is due, side by side, until nothing is; return how many URLs were looked at."""
    return errands.run(_claim, _fetch, _settle_all, side_by_side=SHARES.side_by_side, broken=BROKEN)


def ring_again() -> int:
    """Ring where URLs are due and no worker is on its way to them; return how many are due."""
    return errands.ring_again(ImportItem.next_at, jobs.run_imports())


def _claim(most: int, _: Sequence[_Errand]) -> list[_Errand]:
    """Take what is due, within the shares, with a lease; count the attempts before they are made."""
    busy = _busy()
    chosen = SHARES.choose(_due(busy), busy, most)
    if not chosen:
        db.session.rollback()
        return []
    with work():
        rows = select(ImportItem).where(ImportItem.id.in_(chosen), ImportItem.next_at <= now())
        rows = held(rows.options(joinedload(ImportItem.job)), ImportItem, skip_locked=True)
        taken: list[_Errand] = []
        for item in db.session.scalars(rows):
            item.attempts += 1
            item.fetching_until = item.next_at = now() + LEASE
            taken.append(_Errand(item.id, item.url, item.copy_key, Place.of(item.job.property), item.attempts))
    return taken


def _due(busy: Sequence[Turn]) -> list[Turn]:
    """Return the first of each workspace that are due, one of each import after the other: no queue hides another."""
    hosts, workspaces = SHARES.full(busy)
    order = (ImportItem.attempts, ImportItem.position, ImportItem.id)  # what failed before comes after what is new
    place = func.row_number().over(partition_by=Property.workspace_id, order_by=order)
    due = (
        select(
            ImportItem.id,
            ImportItem.host,
            Property.workspace_id,
            (ImportItem.attempts > 0).label("is_retry"),
            place.label("place"),
        )
        .join(ImportJob, ImportItem.job_id == ImportJob.id)
        .join(Property, ImportJob.property_id == Property.id)
        .where(ImportItem.next_at <= now(), ImportItem.host.not_in(hosts), Property.workspace_id.not_in(workspaces))
        .subquery()
    )
    first = select(due).where(due.c.place <= PER_WORKSPACE).order_by(due.c.place, due.c.id).limit(CANDIDATES)
    return [Turn(*row[:4]) for row in db.session.execute(first)]


def _busy() -> list[Turn]:
    """Return what every worker is fetching now."""
    busy = (
        select(ImportItem.id, ImportItem.host, Property.workspace_id, ImportItem.attempts > 1)
        .join(ImportJob, ImportItem.job_id == ImportJob.id)
        .join(Property, ImportJob.property_id == Property.id)
        .where(ImportItem.fetching_until > now())
    )
    return [Turn(*row) for row in db.session.execute(busy)]


def _fetch(errand: _Errand) -> _Found:
    if errand.attempts > MAX_ATTEMPTS:
        return _Found(code="interrupted", message="The import of this URL broke off each time.")
    try:
        data = _copy(errand) or remote.fetch(errand.url, max_bytes=MAX_BYTES, deadline_s=DEADLINE_S).data
        picture = inspect(data)
    except remote.Unreachable as error:
        again = RETRY_AFTER_S[errand.attempts - 1] if errand.attempts <= len(RETRY_AFTER_S) else None
        return _Found(code=error.code, message=error.message, again_in_s=again)
    except TooMany as busy:
        return _Found(again_in_s=busy.retry_after_s, is_ours=True)
    except StorageFailed:
        return _Found(again_in_s=RETRY_AFTER_S[-1], is_ours=True)
    except (remote.Refused, Invalid) as error:
        return _Found(code=error.code, message=error.message)
    if picture.type not in uploads.TYPES:
        return _Found(code="content_type_not_allowed", message=f"A photo's type is one of {', '.join(uploads.TYPES)}.")
    return _Found(data, picture)


def _copy(errand: _Errand) -> bytes | None:
    """What we serve of this URL ourselves: whoever named it may be away. None where that can't be a photo here."""
    data = storage.cdn.get(errand.copy_key) if errand.copy_key else None
    return data if data and len(data) <= MAX_BYTES else None


def _settle_all(results: Sequence[tuple[_Errand, _Found]]) -> None:
    for errand, found in results:
        _settle(errand, found)


def _settle(errand: _Errand, found: _Found) -> None:
    """Note what came of an item, in a change of its own: what is done stays done, whatever happens to the rest."""
    try:
        if found.picture:
            _add(errand, found, found.picture)
        elif found.again_in_s is not None:
            _put_off(errand, found.again_in_s, is_ours=found.is_ours)
        else:
            _fail(errand, found.code, found.message)
    except OverQuota as full:
        _fail(errand, "image_limit_reached", full.message)
    except StorageFailed:
        _put_off(errand, RETRY_AFTER_S[-1], is_ours=True)


def _add(errand: _Errand, found: _Found, picture: Picture) -> None:
    original_key, key = errand.place.original_key(picture.type), errand.place.original_key(picture.type)
    name = errand.url.partition("?")[0].rpartition("/")[2][:255] or "imported"
    with work() as w:
        w.put(storage.uploads, original_key, found.data, picture.type)
        item = _held(errand)
        if item is None:
            return w.drop(storage.uploads, original_key)
        image = Image(
            uuid=uuid_in(key),
            property_id=item.job.property_id,
            key=key,
            original_key=original_key,
            file_name=name,
            type=picture.type,
            size_bytes=len(found.data),
            width=picture.width,
            height=picture.height,
            sha256=hashlib.sha256(found.data).hexdigest(),
            alt_text=item.alt_text,
            added_by=item.job.added_by,
        )
        gallery.insert(item.job.property, image, position_of(item))
        item.image_uuid, item.size_bytes = image.uuid, len(found.data)
        w.enqueue(jobs.make_variants(image.id))
        imports.settle(w, item)
    return None


def position_of(item: ImportItem) -> int | None:
    """Return where an item's image belongs in the gallery: an import stands in the order in which it was asked for.

    That is behind all that come before it in the import; while none of them is there, before the next one after it;
    else at the end (None). So whatever people have moved or deleted meanwhile stays so; and it comes first of all,
    which is to be the cover, only where nothing else is there. Under the property's lock.
    """
    arrived = (
        select(ImportItem.position, Image.position)
        .join(Image, Image.uuid == ImportItem.image_uuid)
        .where(ImportItem.job_id == item.job_id, Image.property_id == item.job.property_id)
    )
    positions = dict(db.session.execute(arrived).all())
    if earlier := [here for asked, here in positions.items() if asked < item.position]:
        return max(earlier) + 1
    if not positions:
        return None
    is_alone = len(positions) == gallery.room(item.job.property).used
    return max(positions[min(positions)], 0 if is_alone else 1)


def _fail(errand: _Errand, code: str, message: str) -> None:
    with work() as w:
        if item := _held(errand):
            imports.settle(w, item, code=code, message=message)


def _put_off(errand: _Errand, pause_s: float, *, is_ours: bool) -> None:
    with work():
        if item := _held(errand):
            item.attempts -= is_ours
            item.fetching_until, item.next_at = None, now() + timedelta(seconds=pause_s)


def _held(errand: _Errand) -> ImportItem | None:
    """Lock the property, then the item; None where another worker has settled it, or it is gone."""
    item = db.session.get(ImportItem, errand.item_id)
    if item is None or not lock(item.job.property) or not lock(item) or item.state != PENDING:
        return None
    return item
