"""Fetching what was imported: a few at a time from each host and for each workspace, so nobody waits for others."""

import hashlib
import logging
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Select, func, select
from sqlalchemy.orm import joinedload

from portal import jobs, remote, storage
from portal.db import db, now
from portal.errors import Invalid, OverQuota, StorageFailed
from portal.images import gallery, imports, uploads
from portal.images.keys import Place, uuid_in
from portal.images.models import PENDING, Image, ImportItem, ImportJob, Property
from portal.pixels.inspect import Picture, inspect
from portal.work import lock, work

log = logging.getLogger(__name__)

DEADLINE_S = 20  # for one URL, everything included (reliability.md, A21)
LEASE = timedelta(seconds=60)  # an item whose worker died is due again then
SIDE_BY_SIDE, PER_HOST, PER_WORKSPACE = 16, 4, 8
CANDIDATES = 200
RUN_FOR_S = 60
RETRY_AFTER_S = (2, 10)
MAX_ATTEMPTS = 10  # interruptions included


@dataclass(frozen=True)
class _Errand:
    """An item as plain values: it is fetched in a thread, without the database."""

    item_id: int
    url: str
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


def run() -> int:
    """Fetch what is due, side by side, until nothing is; return how many URLs were looked at."""
    began, looked_at = time.monotonic(), 0
    on_the_way: dict[Future[_Found], _Errand] = {}
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        while True:
            if time.monotonic() - began < RUN_FOR_S:
                for errand in _claim(SIDE_BY_SIDE - len(on_the_way)):
                    on_the_way[pool.submit(_fetch, errand)] = errand
            if not on_the_way:
                return looked_at
            done, _ = wait(on_the_way, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                _settle(on_the_way.pop(future), _result(future))
                looked_at += 1


def _result(future: Future[_Found]) -> _Found:
    """A URL that breaks our own code fails alone, and not its neighbours with it."""
    try:
        return future.result()
    except Exception:
        log.exception("fetching broke")
        return _Found(code="internal", message="Something went wrong on our side.")


def ring_again() -> int:
    """Ring where URLs are due and no worker is on its way to them; return how many are due."""
    due = db.session.scalar(select(func.count(ImportItem.id)).where(ImportItem.next_at <= now())) or 0
    if due:
        for job in jobs.lost([jobs.run_imports()]):
            jobs.enqueue(job)
    return due


def _claim(most: int) -> list[_Errand]:
    """Take what is due, within the caps, with a lease; count the attempts before they are made."""
    if most <= 0 or not db.session.scalar(select(ImportItem.id).where(ImportItem.next_at <= now()).limit(1)):
        db.session.rollback()
        return []
    with work():
        hosts, workspaces = _busy()
        errands: list[_Errand] = []
        for item in db.session.scalars(_in_turn(hosts)):
            workspace_id = item.job.property.workspace_id
            if hosts[item.host] >= PER_HOST or workspaces[workspace_id] >= PER_WORKSPACE or len(errands) == most:
                continue
            hosts[item.host] += 1
            workspaces[workspace_id] += 1
            item.attempts += 1
            item.fetching_until = item.next_at = now() + LEASE
            errands.append(_Errand(item.id, item.url, Place.of(item.job.property), item.attempts))
    return errands


def _in_turn(hosts: Counter[str]) -> Select[ImportItem]:
    """Choose among what is due the first few of each host and import: a long queue hides no short one."""
    full = [host for host, count in hosts.items() if count >= PER_HOST]
    turn = func.row_number().over(partition_by=(ImportItem.host, ImportItem.job_id), order_by=ImportItem.id)
    due = (
        select(ImportItem.id, turn.label("turn"))
        .where(ImportItem.next_at <= now(), ImportItem.host.not_in(full))
        .subquery()
    )
    first = select(due.c.id).where(due.c.turn <= PER_HOST).order_by(due.c.turn, due.c.id).limit(CANDIDATES)
    rows = select(ImportItem).where(ImportItem.id.in_(first.scalar_subquery()), ImportItem.next_at <= now())
    return rows.options(joinedload(ImportItem.job)).with_for_update(skip_locked=True, of=ImportItem)


def _busy() -> tuple[Counter[str], Counter[int]]:
    """Count what every worker is fetching now, by host and by workspace."""
    busy = (
        select(ImportItem.host, Property.workspace_id)
        .join(ImportJob, ImportItem.job_id == ImportJob.id)
        .join(Property, ImportJob.property_id == Property.id)
        .where(ImportItem.fetching_until > now())
    )
    rows = db.session.execute(busy).all()
    return Counter(host for host, _ in rows), Counter(workspace for _, workspace in rows)


def _fetch(errand: _Errand) -> _Found:
    if errand.attempts > MAX_ATTEMPTS:
        return _Found(code="interrupted", message="The import of this URL broke off each time.")
    try:
        fetched = remote.fetch(errand.url, max_bytes=uploads.MAX_SIZE_BYTES, deadline_s=DEADLINE_S)
        picture = inspect(fetched.data)
    except remote.Unreachable as error:
        again = RETRY_AFTER_S[errand.attempts - 1] if errand.attempts <= len(RETRY_AFTER_S) else None
        return _Found(code=error.code, message=error.message, again_in_s=again)
    except (remote.Refused, Invalid) as error:
        return _Found(code=error.code, message=error.message)
    if picture.type not in uploads.TYPES:
        return _Found(code="content_type_not_allowed", message=f"A photo's type is one of {', '.join(uploads.TYPES)}.")
    return _Found(fetched.data, picture)


def _settle(errand: _Errand, found: _Found) -> None:
    """Note what came of an item, in a change of its own: what is done stays done, whatever happens to the rest."""
    try:
        if found.picture:
            _add(errand, found, found.picture)
        elif found.again_in_s is not None:
            _put_off(errand, found.again_in_s)
        else:
            _fail(errand, found.code, found.message)
    except OverQuota as full:
        _fail(errand, "image_limit_reached", full.message)
    except StorageFailed:
        _put_off(errand, RETRY_AFTER_S[-1])


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
            added_by=item.job.added_by,
        )
        gallery.append(item.job.property, image)
        item.image_uuid, item.size_bytes = image.uuid, len(found.data)
        w.enqueue(jobs.make_variants(image.id))
        imports.settle(w, item)
    return None


def _fail(errand: _Errand, code: str, message: str) -> None:
    with work() as w:
        if item := _held(errand):
            imports.settle(w, item, code=code, message=message)


def _put_off(errand: _Errand, pause_s: float) -> None:
    with work():
        if item := _held(errand):
            item.fetching_until, item.next_at = None, now() + timedelta(seconds=pause_s)


def _held(errand: _Errand) -> ImportItem | None:
    """Lock the property, then the item; None where another worker has settled it, or it is gone."""
    item = db.session.get(ImportItem, errand.item_id)
    if item is None or not lock(item.job.property) or not lock(item) or item.state != PENDING:
        return None
    return item
