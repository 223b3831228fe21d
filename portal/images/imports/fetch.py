"""Fetch the URLs of imports concurrently; each becomes an image or fails with a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import select, tuple_, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import joinedload

from portal import dispatch, inventory, remote
from portal.db import db, now, release
from portal.dispatch import Candidate
from portal.errors import Invalid, OverQuota, Problem, StorageFailed, TooMany
from portal.images import gallery, imports, uploads
from portal.images.imports import selection
from portal.images.keys import StoragePrefix, uuid_in
from portal.images.models import PENDING, Image, ImportItem, ImportJob
from portal.infra import jobs, storage
from portal.inventory import COPY, ORIGINAL, Damaged, Facts
from portal.pixels.inspect import inspect
from portal.pixels.picture import Picture
from portal.pixels.rejection import is_transient
from portal.remote.large import LargeDownloads
from portal.work import for_update, lock, work

MAX_BYTES = uploads.MAX_SIZE_BYTES
DEADLINE_S = 20  # for one URL, redirects included
LEASE = timedelta(seconds=6)  # renewed while the worker lives; a killed one's job resumes after 6.3 s at the earliest
WITH_PROPERTY = joinedload(ImportItem.job).joinedload(ImportJob.property)
USUAL_BYTES = 1024 * 1024  # larger downloads need one of MAX_LARGE_DOWNLOADS slots, so hanging ones hold little memory
MAX_LARGE_DOWNLOADS, LARGE_WAIT_S = 16, 5
RETRY_DELAYS_S = (2, 10)
MAX_ATTEMPTS = 10  # including interrupted ones


@dataclass(frozen=True)
class _Task:
    """An item as plain values, for a thread that has no database session."""

    candidate: Candidate
    url: str
    copy: Facts | None  # our copy of the picture, read instead of the URL
    prefix: StoragePrefix
    attempts: int


@dataclass(frozen=True)
class _FetchResult:
    """A URL's inspected picture, or the reason why there is none, and when to try again."""

    data: bytes = b""
    picture: Picture | None = None
    code: str = ""
    message: str = ""
    retry_in_s: float | None = None
    is_our_fault: bool = False  # True: the attempt doesn't count
    copy_damage: str | None = None  # why our copy could not be used


INTERNAL_ERROR = _FetchResult(code="internal", message="Something went wrong on our side.")
_large = LargeDownloads(MAX_LARGE_DOWNLOADS, LARGE_WAIT_S)


def run() -> int:
    """Fetch due URLs concurrently until none is left; return how many were tried."""
    return dispatch.run(
        _claim,
        _fetch,
        _record,
        limits=selection.LIMITS,
        if_perform_raises=INTERNAL_ERROR,
        if_record_raises=_unrecordable,
        renew=_renew,
        successor=jobs.run_imports(),
    )


def enqueue_missing() -> int:
    """Enqueue the job if URLs are due and it is neither queued nor running; return how many are due."""
    return dispatch.enqueue_missing(ImportItem.next_at, jobs.run_imports())


def _unrecordable(error: Exception) -> _FetchResult:
    """Return what to record for an item whose result can't be recorded: another attempt later."""
    return _FetchResult(retry_in_s=RETRY_DELAYS_S[-1], is_our_fault=isinstance(error, StorageFailed | OperationalError))


def _claim(most: int) -> list[_Task]:
    """Lease due items within the limits. Attempts are counted before they are made, so crashes count too."""
    picked = selection.pick(most)
    if not picked:
        release()
        return []
    with work():
        rows = select(ImportItem).where(ImportItem.id.in_(picked), ImportItem.next_at <= now())
        rows = for_update(rows.options(WITH_PROPERTY), ImportItem, skip_locked=True)
        items = db.session.scalars(rows).all()
        copies = inventory.facts(storage.cdn, [item.copy_key for item in items if item.copy_key])
        for item in items:
            item.attempts += 1
            item.fetching_until = item.next_at = now() + LEASE
        return [_task(item, copies) for item in items]


def _renew(tasks: Sequence[_Task]) -> None:
    until = now() + LEASE
    ours = [(task.candidate.id, task.attempts) for task in tasks]
    leased = tuple_(ImportItem.id, ImportItem.attempts).in_(ours) & ImportItem.fetching_until.is_not(None)
    with work():
        db.session.execute(update(ImportItem).where(leased).values(fetching_until=until, next_at=until))


def _task(item: ImportItem, copies: Mapping[str, Facts]) -> _Task:
    property = item.job.property
    candidate = Candidate(item.id, item.host, property.workspace_id, is_retry=item.attempts > 1)
    copy = copies.get(item.copy_key, Facts(item.copy_key, COPY, "", None, None)) if item.copy_key else None
    return _Task(candidate, item.url, copy, StoragePrefix.of(property), item.attempts)


def _fetch(task: _Task) -> _FetchResult:
    if task.attempts > MAX_ATTEMPTS:
        return _FetchResult(code="interrupted", message="Every attempt to import this URL was interrupted.")
    try:
        storage.uploads.demand_room()
        data = _stored_copy(task) or _download(task)
        picture = inspect(data)
    except Damaged as copy:
        return replace(_fetch(replace(task, copy=None)), copy_damage=copy.damage)
    except remote.Unreachable as error:
        return _failed(error, retry_in_s=_retry_delay_s(task))
    except TooMany as busy:
        return _FetchResult(retry_in_s=busy.retry_after_s, is_our_fault=True)
    except StorageFailed:
        return _FetchResult(retry_in_s=RETRY_DELAYS_S[-1], is_our_fault=True)
    except (remote.RequestRefused, Invalid) as error:
        return _failed(error, retry_in_s=_retry_delay_s(task) if is_transient(error) else None)
    if picture.type not in uploads.TYPES:
        return _FetchResult(
            code="content_type_not_allowed", message=f"A photo's type must be one of {', '.join(uploads.TYPES)}."
        )
    return _FetchResult(data, picture)


def _failed(error: Problem, retry_in_s: float | None) -> _FetchResult:
    return _FetchResult(code=error.code, message=error.message, retry_in_s=retry_in_s)


def _retry_delay_s(task: _Task) -> float | None:
    """Return the seconds until the next attempt, or None if this was the last one."""
    return RETRY_DELAYS_S[task.attempts - 1] if task.attempts <= len(RETRY_DELAYS_S) else None


def _download(task: _Task) -> bytes:
    storage.uploads.demand_reachable()
    with _large.admitting() as admit:
        return remote.fetch(
            task.url, max_bytes=MAX_BYTES, deadline_s=DEADLINE_S, usual_bytes=USUAL_BYTES, admit=admit
        ).data


def _stored_copy(task: _Task) -> bytes | None:
    """Return our copy of the picture, as its server may be down; None if there is no copy, or it is too large.

    Raises Damaged.
    """
    if task.copy is None or task.copy.damage or (task.copy.size_bytes or 0) > MAX_BYTES:
        return None
    data = inventory.verified(storage.cdn, task.copy)
    return data if len(data) <= MAX_BYTES else None


def _record(results: dispatch.Results[_Task, _FetchResult]) -> None:
    """Record the results of items, each in its own transaction."""
    for task, result in results:
        if task.copy and result.copy_damage:
            with work():  # the sweep has marked copies downloaded again
                inventory.mark(storage.cdn, {task.copy.key: result.copy_damage})
        if result.picture:
            _add(task, result, result.picture)
        elif result.retry_in_s is not None:
            _postpone(task, result.retry_in_s, is_our_fault=result.is_our_fault)
        else:
            _fail(task, result.code, result.message)


def _add(task: _Task, result: _FetchResult, picture: Picture) -> None:
    try:
        _insert(task, result, picture)
    except OverQuota as error:
        _fail(task, "image_limit_reached", error.message)


def _insert(task: _Task, result: _FetchResult, picture: Picture) -> None:
    original_key, key = task.prefix.original_key(picture.type), task.prefix.original_key(picture.type)
    name = task.url.partition("?")[0].rpartition("/")[2][:255] or "imported"
    with work() as w:
        original = w.put(storage.uploads, original_key, result.data, picture.type, ORIGINAL)
        item = _locked_item(task)
        if item is None:
            return w.drop(storage.uploads, original_key)
        image = Image(
            uuid=uuid_in(key),
            property_id=item.job.property_id,
            key=key,
            original_key=original_key,
            file_name=name,
            type=picture.type,
            size_bytes=len(result.data),
            width=picture.width,
            height=picture.height,
            sha256=original.sha256,
            alt_text=item.alt_text,
            added_by=item.job.added_by,
        )
        gallery.insert(item.job.property, image, position_of(item))
        item.image_uuid, item.size_bytes = image.uuid, len(result.data)
        w.enqueue(jobs.make_variants(image.id))
        imports.finish(w, item)
    return None


def position_of(item: ImportItem) -> int | None:
    """Return an item's position in the gallery, so that an import's images keep the order of the request.

    That is behind the images of all earlier items; if there are none yet, before the image of the next later item;
    otherwise None, the end. Images that people moved or deleted meanwhile are not touched, and an image is put first,
    as the cover, only if all others in the gallery come from this import. Call it under the property's lock.
    """
    imported = (
        select(ImportItem.position, Image.position)
        .join(Image, Image.uuid == ImportItem.image_uuid)
        .where(ImportItem.job_id == item.job_id, Image.property_id == item.job.property_id)
    )
    positions = dict(db.session.execute(imported).all())
    if earlier := [in_gallery for in_import, in_gallery in positions.items() if in_import < item.position]:
        return max(earlier) + 1
    if not positions:
        return None
    is_alone = len(positions) == gallery.quota(item.job.property).used
    return max(positions[min(positions)], 0 if is_alone else 1)


def _fail(task: _Task, code: str, message: str) -> None:
    with work() as w:
        if item := _locked_item(task):
            imports.finish(w, item, code=code, message=message)


def _postpone(task: _Task, pause_s: float, *, is_our_fault: bool) -> None:
    with work():
        if item := _locked_item(task):
            item.attempts -= is_our_fault
            item.fetching_until, item.next_at = None, now() + timedelta(seconds=pause_s)


def _locked_item(task: _Task) -> ImportItem | None:
    """Lock the property, then the item; None if another worker has it or has finished it, or if it was deleted."""
    by_id = select(ImportItem).where(ImportItem.id == task.candidate.id).options(WITH_PROPERTY)
    item = db.session.scalar(by_id)
    if item is None or not lock(item.job.property) or not lock(item):
        return None
    if item.state != PENDING or item.attempts != task.attempts:  # our lease has lapsed, and another worker has taken it
        return None
    return item
