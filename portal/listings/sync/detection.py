"""Image detection: compares the pictures that the PMS lists now with the stored ListingImages."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from sqlalchemy import Row, delete, insert, select, update

from portal.config import settings
from portal.db import db, now
from portal.infra import jobs, storage
from portal.listings import providers
from portal.listings.models import GALLERY, THUMBNAIL, VERIFY_EVERY, IntegrationAccount, Listing, ListingImage
from portal.work import Work

KEEP_BYTES = "surrogateescape"  # keeps bytes that aren't UTF-8, so that different escapes stay different names
SIGNATURE_PARAMETERS = {"expires", "signature", "sig", "token", "key-pair-id", "policy"}  # and X-Amz-…, X-Goog-…
SIGNATURE_PARAMETERS |= {"st", "se", "skt", "ske"}  # Azure's start and expiry times
MAX_SUPERSEDED = 300  # rows kept per listing: a PMS may change every URL at each sync


_Stored = Row[int, int, str, str, str, int, str | None, str | None, datetime | None]


class ListedPicture(NamedTuple):
    """A picture that the PMS lists now; it needs a ListingImage."""

    listing_id: int
    type: str
    url: str
    position: int

    @property
    def identity(self) -> tuple[int, str, str]:
        return self.listing_id, self.type, url_sha256(self.url)


def url_sha256(url: str) -> str:
    """Return the hash of a URL without signature parameters, so that re-signing doesn't make a picture look new.

    See tests/contracts/README.md, "Signed URLs".
    """
    return hashlib.sha256(_unsigned(url).encode()).hexdigest()


def detect(w: Work, listings: Sequence[Listing]) -> int:
    """Give each picture of these listings a ListingImage; return the number of new ones.

    Takes a fixed number of statements. Images that the PMS no longer lists are kept and marked as superseded (Image CDN
    contract, "Updated Images"). Call it under the account's lock.
    """
    stored = _stored([listing.id for listing in listings])
    new: list[dict[str, Any]] = []
    changes: dict[str, list[dict[str, Any]]] = {}
    accounts, at = {listing.id: listing.account_id for listing in listings}, now()
    for picture in (each for listing in listings for each in listed_pictures(listing)):
        row = stored.pop(picture.identity, None)
        if row is None:
            new.append(_new_row(picture, accounts[picture.listing_id]))
        elif change := _change(row, picture, at):
            changes.setdefault(" ".join(change), []).append({"id": row.id, **change})
    unlisted = [row.id for row in stored.values() if row.superseded_at is None]
    _prune_superseded(w, list(stored.values()))
    if due := [*new, *(row for rows in changes.values() for row in rows if row.get("next_at") == at)]:
        _schedule_uploads(listings[0].account, due)
    if new:
        db.session.execute(insert(ListingImage), new)
    for same_columns in changes.values():  # at most three sets of columns
        db.session.execute(update(ListingImage), same_columns)
    if unlisted:
        superseded = update(ListingImage).where(ListingImage.id.in_(unlisted))
        db.session.execute(superseded.values(superseded_at=now(), next_at=None))
    if new or changes:
        w.enqueue(jobs.image_cdn_upload())
    return len(new)


def _schedule_uploads(account: IntegrationAccount, due: Sequence[dict[str, Any]]) -> None:
    """Schedule uploads within the provider's budget per sync; the rest is due in the intervals of later syncs.

    Pictures that were already waiting use up the budget first. See tests/contracts/README.md, "Budget of a sync".
    """
    budget = providers.ALL[account.definition.provider].uploads_per_sync
    for nth, row in enumerate(due, account.uploads):
        row["next_at"] = now() + nth // budget * timedelta(minutes=settings().sync_every_min)
    account.uploads += len(due)


def _prune_superseded(w: Work, unlisted: Sequence[_Stored]) -> None:
    """Delete all but the newest MAX_SUPERSEDED superseded images of each listing."""
    by_listing: dict[int, list[_Stored]] = {}
    for row in sorted(unlisted, key=lambda row: row.id, reverse=True):
        by_listing.setdefault(row.listing_id, []).append(row)
    old = [row for rows in by_listing.values() for row in rows[MAX_SUPERSEDED:] if row.superseded_at]
    if old:
        db.session.execute(delete(ListingImage).where(ListingImage.id.in_([row.id for row in old])))
        keys = {row.key for row in old if row.key}
        named = set(db.session.scalars(select(ListingImage.key).where(ListingImage.key.in_(keys))))
        w.drop(storage.cdn, *(keys - named))


def listed_pictures(listing: Listing) -> Iterator[ListedPicture]:
    """Yield the thumbnail and gallery pictures of a listing, without repeats."""
    seen = set()
    thumbnail = [ListedPicture(listing.id, THUMBNAIL, listing.thumbnail_url, 0)] if listing.thumbnail_url else []
    gallery = (ListedPicture(listing.id, GALLERY, item["url"], n) for n, item in enumerate(listing.pictures))
    for picture in (*thumbnail, *gallery):
        if picture.identity not in seen:
            seen.add(picture.identity)
            yield picture


def _stored(listing_ids: Sequence[int]) -> dict[tuple[int, str, str], _Stored]:
    image = ListingImage
    rows = select(
        image.id,
        image.listing_id,
        image.type,
        image.url_sha256,
        image.original_url,
        image.position,
        image.key,
        image.failure_reason,
        image.superseded_at,
    ).where(image.listing_id.in_(listing_ids))
    return {(row.listing_id, row.type, row.url_sha256): row for row in db.session.execute(rows)}


def _new_row(picture: ListedPicture, account_id: int) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "listing_id": picture.listing_id,
        "type": picture.type,
        "original_url": picture.url,
        "url_sha256": url_sha256(picture.url),
        "host": host_of(picture.url),
        "position": picture.position,
    }


def _change(row: _Stored, picture: ListedPicture, at: datetime) -> Mapping[str, Any]:
    """Return the changed columns: position, URL, or that the picture is back. `next_at` is `at` if it must be fetched.

    A failed picture with a new signature is fetched again, as the old one may have expired.
    """
    change: dict[str, Any] = {}
    is_re_signed = row.original_url != picture.url
    if is_re_signed or row.position != picture.position:
        change |= {"original_url": picture.url, "position": picture.position}
    if row.superseded_at is not None:
        change |= {"superseded_at": None, "next_at": at + VERIFY_EVERY if row.key else at, "attempts": 0}
    if is_re_signed and row.failure_reason:
        change |= {"failure_reason": None, "next_at": at, "attempts": 0}
    return change


def host_of(url: str) -> str:
    return (_parts(url).netloc.rpartition("@")[2] or "?").lower()[:255]


def _unsigned(url: str) -> str:
    parts = _parts(url)
    if parts.query:
        unsigned = [(name, value) for name, value in _parameters(parts.query) if not _is_signature_parameter(name)]
        parts = parts._replace(query=urlencode(unsigned, errors=KEEP_BYTES))
    return urlunsplit(parts._replace(fragment=""))


def _parameters(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True, errors=KEEP_BYTES)


def _parts(url: str) -> SplitResult:
    """Split a URL. An invalid one becomes a path, and fails when it is downloaded."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", url, "", "")


def _is_signature_parameter(name: str) -> bool:
    return name.lower() in SIGNATURE_PARAMETERS or name.lower().startswith(("x-amz-", "x-goog-"))
