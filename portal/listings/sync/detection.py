"""Which ListingImages there should be: what the PMS says now, compared with the stored rows (seed A, step 2)."""

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

AS_IT_IS = "surrogateescape"  # bytes that are no UTF-8: %E8 and %E9 are two names
SIGNED_WITH = {"expires", "signature", "sig", "token", "key-pair-id", "policy"}  # and X-Amz-…, X-Goog-…
SIGNED_WITH |= {"st", "se", "skt", "ske"}  # Azure: from when and until when
MAX_SUPERSEDED = 300  # records of a listing that are kept: a PMS may name each picture anew at each sync


_Stored = Row[int, int, str, str, str, int, str | None, str | None, datetime | None]


class Wanted(NamedTuple):
    """A picture that the PMS names now: what a ListingImage should stand for."""

    listing_id: int
    type: str
    url: str
    position: int

    @property
    def identity(self) -> tuple[int, str, str]:
        return self.listing_id, self.type, url_sha256(self.url)


def url_sha256(url: str) -> str:
    """Tell URLs apart by what they name, not by who may read it until when (A7)."""
    return hashlib.sha256(_unsigned(url).encode()).hexdigest()


def detect(w: Work, listings: Sequence[Listing]) -> int:
    """Have a ListingImage for each picture of these listings, in a fixed number of statements; return how many are new.

    What the PMS doesn't name any more is kept, and marked (A5, A8). Under the lock of their account.
    """
    stored = _stored([listing.id for listing in listings])
    new: list[dict[str, Any]] = []
    changes: dict[str, list[dict[str, Any]]] = {}
    accounts, at = {listing.id: listing.account_id for listing in listings}, now()
    for one in (each for listing in listings for each in wanted(listing)):
        row = stored.pop(one.identity, None)
        if row is None:
            new.append(_fresh(one, accounts[one.listing_id]))
        elif change := _change(row, one, at):
            changes.setdefault(" ".join(change), []).append({"id": row.id, **change})
    gone = [row.id for row in stored.values() if row.superseded_at is None]
    _forget(w, list(stored.values()))
    if due := [*new, *(row for rows in changes.values() for row in rows if row.get("next_at") == at)]:
        _spread(listings[0].account, due)
    if new:
        db.session.execute(insert(ListingImage), new)
    for same_columns in changes.values():  # three kinds at most
        db.session.execute(update(ListingImage), same_columns)
    if gone:
        marked = update(ListingImage).where(ListingImage.id.in_(gone))
        db.session.execute(marked.values(superseded_at=now(), next_at=None))
    if new or changes:
        w.enqueue(jobs.image_cdn_upload())
    return len(new)


def _spread(account: IntegrationAccount, due: Sequence[dict[str, Any]]) -> None:
    """Have pictures uploaded in their turn: so many with each sync, the rest as many syncs later (A18).

    What waited before has its turn before them.
    """
    budget = providers.ALL[account.definition.provider].uploads_per_sync
    for nth, row in enumerate(due, account.uploads):
        row["next_at"] = now() + nth // budget * timedelta(minutes=settings().sync_every_min)
    account.uploads += len(due)


def _forget(w: Work, unnamed: Sequence[_Stored]) -> None:
    """Delete the oldest records, past MAX_SUPERSEDED of a listing, of what the PMS doesn't name any more."""
    by_listing: dict[int, list[_Stored]] = {}
    for row in sorted(unnamed, key=lambda row: row.id, reverse=True):
        by_listing.setdefault(row.listing_id, []).append(row)
    old = [row for rows in by_listing.values() for row in rows[MAX_SUPERSEDED:] if row.superseded_at]
    if old:
        db.session.execute(delete(ListingImage).where(ListingImage.id.in_([row.id for row in old])))
        keys = {row.key for row in old if row.key}
        named = set(db.session.scalars(select(ListingImage.key).where(ListingImage.key.in_(keys))))
        w.drop(storage.cdn, *(keys - named))


def wanted(listing: Listing) -> Iterator[Wanted]:
    """Yield what a listing shows, the first of equal pictures only."""
    seen = set()
    thumbnail = [Wanted(listing.id, THUMBNAIL, listing.thumbnail_url, 0)] if listing.thumbnail_url else []
    gallery = (Wanted(listing.id, GALLERY, picture["url"], n) for n, picture in enumerate(listing.pictures))
    for one in (*thumbnail, *gallery):
        if one.identity not in seen:
            seen.add(one.identity)
            yield one


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


def _fresh(wanted: Wanted, account_id: int) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "listing_id": wanted.listing_id,
        "type": wanted.type,
        "original_url": wanted.url,
        "url_sha256": url_sha256(wanted.url),
        "host": host_of(wanted.url),
        "position": wanted.position,
    }


def _change(row: _Stored, wanted: Wanted, at: datetime) -> Mapping[str, Any]:
    """What is another now: its place, its signature, or that it is back; due `at` once where it is to be fetched.

    A link that failed is fetched again where its signature is a fresh one: the old one may just have been over.
    """
    change: dict[str, Any] = {}
    is_signed_anew = row.original_url != wanted.url
    if is_signed_anew or row.position != wanted.position:
        change |= {"original_url": wanted.url, "position": wanted.position}
    if row.superseded_at is not None:
        change |= {"superseded_at": None, "next_at": at + VERIFY_EVERY if row.key else at, "attempts": 0}
    if is_signed_anew and row.failure_reason:
        change |= {"failure_reason": None, "next_at": at, "attempts": 0}
    return change


def host_of(url: str) -> str:
    return (_parts(url).netloc.rpartition("@")[2] or "?").lower()[:255]


def _unsigned(url: str) -> str:
    parts = _parts(url)
    if parts.query:
        kept = [(name, value) for name, value in _asked(parts.query) if not _signs(name)]
        parts = parts._replace(query=urlencode(kept, errors=AS_IT_IS))
    return urlunsplit(parts._replace(fragment=""))


def _asked(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True, errors=AS_IT_IS)


def _parts(url: str) -> SplitResult:
    """A URL in parts; all of it is the path where it is none: the download will say so."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", url, "", "")


def _signs(name: str) -> bool:
    return name.lower() in SIGNED_WITH or name.lower().startswith(("x-amz-", "x-goog-"))
