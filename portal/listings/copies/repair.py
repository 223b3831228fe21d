"""Download damaged copies again: in a worker once a reader has noticed, or in this process for the audit."""

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, or_, select, update

from portal import inventory
from portal.db import db, now, release
from portal.dispatch import Results
from portal.infra import jobs, storage
from portal.inventory import CHANGED, COPY, MISSING, Facts, StoredObject
from portal.listings.copies import results, selection, tasks
from portal.listings.copies.fetch import FetchResult, Task
from portal.listings.models import WITH_REMOVED, IntegrationAccount, IntegrationDefinition, Listing, ListingImage
from portal.work import for_update, work

REPAIR_FOR_S = 60  # then `repair` leaves the rest to a worker, once the last downloads have ended
BATCH = 500
POLL_EVERY_S = 0.2  # while other workers hold the pictures, or as many connections to their hosts as are allowed

UNREFERENCED = "No listing has this picture."
REMOVED = "The account has been removed."
CDN_OFF = "The Image CDN is switched off for this provider."
SUPERSEDED = "The PMS no longer lists this picture."
NOT_YET = "It is not downloaded yet; a worker continues."


def schedule(key: str, damage: str = CHANGED) -> None:
    """Mark a copy as damaged and have a worker download it again.

    Calling it again changes nothing while that is on its way, or once it has failed: then the picture's usual retries
    and verifications apply.
    """
    known = inventory.find(storage.cdn, key)
    is_new = known is not None and known.damage is None
    if not is_new and db.session.scalar(select(ListingImage.id).where(ListingImage.key == key, _is_idle())) is None:
        release()
        return
    with work() as w:
        if is_new:
            inventory.mark(storage.cdn, {key: damage})
        _make_due([key])
        w.enqueue(jobs.image_cdn_upload())


def schedule_marked() -> int:
    """Have a worker download the copies that others have marked as damaged; return how many."""
    count, last = 0, ""
    while marked := _marked(after=last):
        last = marked[-1]
        idle = set(db.session.scalars(select(ListingImage.key).where(ListingImage.key.in_(marked), _is_idle())))
        if keys := [key for key in marked if key in idle]:
            with work() as w:
                _make_due(keys)
                w.enqueue(jobs.image_cdn_upload())
        count += len(keys)
    release()
    return count


def _marked(after: str) -> list[str]:
    """Return the next damaged copies by key.

    Not joined with the images, as PostgreSQL could not use their index: the inventory's keys have another collation.
    """
    copy = StoredObject
    marked = select(copy.key).where(copy.damage.is_not(None), copy.bucket == storage.cdn.role, copy.kind == COPY)
    marked = marked.where(copy.replaced_by.is_(None), copy.key > after)
    return list(db.session.scalars(marked.order_by(copy.key).limit(BATCH)))


def repair(keys: Iterable[str], within_s: float = REPAIR_FOR_S) -> dict[str, str | None]:
    """Download damaged copies again now, in this process; return for each key why it is still damaged, or None.

    A picture whose PMS has other bytes now is a new version under a new key, which counts as repaired too. Stops
    starting downloads after `within_s`; those under way end within their own time limits.
    """
    end, rest = time.monotonic() + within_s, iter(dict.fromkeys(keys))
    found: dict[str, str | None] = {}
    while batch := list(islice(rest, BATCH)):
        found |= _reasons(batch, _download(batch, end))
    return found


def _download(keys: Sequence[str], end: float) -> dict[int, str]:
    """Download the pictures with these copies; return the failures of this process's attempts, by image id."""
    failures: dict[int, str] = {}

    def pick(limit: int) -> list[int]:
        return selection.pick_copies(keys, limit) if time.monotonic() < end else []

    def record(outcomes: Results[Task, FetchResult]) -> None:
        results.record(outcomes)
        failures.update((target.image_id, result.reason) for task, result in outcomes for target in task.targets)

    known = inventory.facts(storage.cdn, keys)
    release()  # no transaction stays open while objects are read
    damages = {key: _damage(known.get(key)) if time.monotonic() < end else CHANGED for key in keys}
    with work():
        unmarked = {key: damages[key] for key, facts in known.items() if facts.damage is None and damages[key]}
        inventory.mark(storage.cdn, unmarked)
        _make_due([key for key, damage in damages.items() if damage])
    while time.monotonic() < end and _is_pending(keys):
        if not tasks.run(pick, record):
            time.sleep(POLL_EVERY_S)
    return failures


def _damage(facts: Facts | None) -> str | None:
    """Return what is wrong with a copy, or None if another process has repaired it meanwhile."""
    if facts is None:
        return MISSING
    if facts.damage or facts.sha256 is None:  # without a hash, only the caller can know
        return facts.damage or CHANGED
    return inventory.damage_in(storage.cdn, facts)


def _make_due(keys: Sequence[str]) -> None:
    """Make the pictures with these copies due, without the validators that would leave the copies as they are.

    Those being fetched stay so: their results, too, make a picture due whose copy is marked as damaged.
    """
    with_copies = and_(ListingImage.key.in_(keys), ListingImage.superseded_at.is_(None))
    listings = select(Listing.id).where(Listing.id.in_(select(ListingImage.listing_id).where(with_copies)))
    # Listings before their images: the lock order of all transactions.
    db.session.scalars(for_update(listings.order_by(Listing.id), Listing)).all()
    due = update(ListingImage).where(with_copies, ~_is_being_fetched())
    values = {"next_at": now(), "etag": None, "last_modified": None, "attempts": 0}
    db.session.execute(due.values(values).execution_options(synchronize_session=False))


def _is_being_fetched() -> ColumnElement[bool]:
    image = ListingImage
    return and_(image.fetching_until.is_not(None), image.fetching_until > now())


def _is_idle() -> ColumnElement[bool]:
    """Select the pictures that are neither due nor being fetched, and whose last verification didn't fail."""
    image = ListingImage
    is_verified = and_(image.failure_reason.is_(None), image.attempts == 0, image.superseded_at.is_(None))
    return and_(is_verified, image.next_at > now(), ~_is_being_fetched())


def _is_pending(keys: Sequence[str]) -> bool:
    """Return whether pictures with these copies are due or being fetched. Removed accounts' are not waited for."""
    release()  # so that it reads what other workers have committed
    waiting = (
        select(ListingImage.id)
        .join(IntegrationAccount, ListingImage.account_id == IntegrationAccount.id)
        .join(IntegrationDefinition, IntegrationAccount.definition_id == IntegrationDefinition.id)
        .where(ListingImage.key.in_(keys), ListingImage.superseded_at.is_(None))
        .where(IntegrationDefinition.enable_images_cdn, or_(ListingImage.next_at <= now(), _is_being_fetched()))
    )
    return db.session.scalar(waiting.limit(1)) is not None


class _Picture(NamedTuple):
    """A picture with a damaged copy."""

    id: int
    is_superseded: bool
    is_removed: bool
    is_cdn_on: bool
    failure_reason: str | None


def _reasons(keys: Sequence[str], failures: Mapping[int, str]) -> dict[str, str | None]:
    """Return why each of the copies is still damaged; None for those that are not, or that are no longer needed."""
    release()
    known = inventory.facts(storage.cdn, keys)
    pictures = _pictures(keys)
    release()
    reasons: dict[str, str | None] = {}
    for key in keys:
        facts, mine = known.get(key), pictures.get(key, [])
        is_gone = facts is None and not mine
        is_good = facts is not None and (facts.damage is None or facts.replaced_by is not None)
        reasons[key] = None if is_gone or is_good else _reason(mine, failures)
    return reasons


def _reason(pictures: Sequence[_Picture], failures: Mapping[int, str]) -> str:
    if not pictures:
        return UNREFERENCED
    listed = [picture for picture in pictures if not picture.is_superseded]
    if not listed:
        return SUPERSEDED
    if all(picture.is_removed for picture in listed):
        return REMOVED
    if not any(picture.is_cdn_on for picture in listed):
        return CDN_OFF
    reasons = (failures.get(picture.id) or picture.failure_reason for picture in listed)
    return next(filter(None, reasons), NOT_YET)


def _pictures(keys: Sequence[str]) -> dict[str, list[_Picture]]:
    image, account, definition = ListingImage, IntegrationAccount, IntegrationDefinition
    rows = (
        select(
            image.key,
            image.id,
            image.superseded_at.is_not(None),
            account.removed_at.is_not(None),
            definition.enable_images_cdn,
            image.failure_reason,
        )
        .join(Listing, image.listing_id == Listing.id)
        .join(account, Listing.account_id == account.id)
        .join(definition, account.definition_id == definition.id)
        .where(image.key.in_(keys))
        .execution_options(**WITH_REMOVED)
    )
    found: dict[str, list[_Picture]] = {}
    for key, *columns in db.session.execute(rows):
        found.setdefault(key or "", []).append(_Picture._make(columns))
    return found
