"""One picture is downloaded, checked, hashed and stored: what runs in a thread, without the database (seed A).

The objects are written here, ahead of the change that names them: hundreds of puts one after the other would be
most of the time. Where that change fails they stay: the next try writes the same bytes under the same name, another
worker may have named them by now, and the nightly sweep takes what nobody names in the end.
"""

import hashlib
from dataclasses import dataclass, replace

from portal import remote
from portal.dispatch import Candidate
from portal.errors import Invalid, Problem, StorageFailed, TooMany
from portal.infra import storage
from portal.listings.models import GALLERY
from portal.pixels.inspect import inspect
from portal.pixels.picture import Picture
from portal.pixels.strip import strip_metadata
from portal.pixels.types import extension_of
from portal.remote.large import LargeBodies

MAX_BYTES = 50 * 1024 * 1024  # seed A: "Images larger than 50 MB are skipped"
USUAL_BYTES = 12 * 1024 * 1024  # what is larger goes on as one of a few: all is held in memory
LARGE_AT_ONCE, LARGE_PATIENCE_S = 4, 5
DEADLINE_S = 30  # for one picture, everything included
RETRY_AFTER_S = (10, 60, 5 * 60, 30 * 60, 2 * 3600)  # 429 and 5xx, timeouts, our own bucket (A14)
MAX_ATTEMPTS = 15  # interruptions included
TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/avif", "image/heic")  # as their bytes say


@dataclass(frozen=True)
class Target:
    """A ListingImage that wants these bytes: a thumbnail is usually the first of the gallery too (A4)."""

    image_id: int
    type: str
    position: int
    held: str | None  # the key of its copy, where it has one

    def key(self, prefix: str, image_hash: str, extension: str) -> str:
        """Seed A, "Image Storage Structure". It is named once: the same bytes at another place keep it (A2)."""
        if self.held and self.held.endswith(f"_{image_hash}.{extension}"):
            return self.held
        if self.type == GALLERY:
            return f"{prefix}gallery/{self.position}_{image_hash}.{extension}"
        return f"{prefix}thumbnail_{image_hash}.{extension}"


@dataclass(frozen=True)
class Task:
    """A URL of one listing as plain values: it is fetched in a thread, without the database."""

    candidate: Candidate
    listing_id: int
    prefix: str
    url: str
    targets: tuple[Target, ...]
    stored: frozenset[str]  # keys that this listing's rows name: their objects are there
    condition: dict[str, str]  # If-None-Match …, where there is a copy already
    copy: "Copy | None"  # of this URL under the other type: stored already, under the first of its keys
    attempts: int


@dataclass(frozen=True)
class Copy:
    """A picture that was downloaded, and what was stored for each target; `put` are the objects new in the bucket."""

    image_hash: str
    keys: dict[int, str]
    put: tuple[str, ...]
    original_bytes: int
    delivered_bytes: int
    picture: Picture
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True)
class FetchResult:
    """What came of a task: a copy, the news that there is no news, or why there is none."""

    copy: Copy | None = None
    is_unchanged: bool = False
    reason: str = ""
    again_in_s: float | None = None
    is_ours: bool = False  # the fault: the attempt does not count


_large = LargeBodies(LARGE_AT_ONCE, LARGE_PATIENCE_S)


def perform(task: Task) -> FetchResult:
    """Download, look at the bytes, clean and store them. What is final says so in the seed's words (A14)."""
    if task.attempts > MAX_ATTEMPTS:
        return FetchResult(reason="The download broke off each time")
    try:
        return _copied_again(task, task.copy) if task.copy else _fetched(task)
    except remote.Unreachable as error:
        return _later(task, _said(error), error.retry_after_s)
    except remote.Refused as error:
        return FetchResult(reason=_said(error))
    except TooMany as busy:
        return FetchResult(again_in_s=busy.retry_after_s, is_ours=True)
    except Invalid as refused:
        return FetchResult(reason=f"Invalid image format: {refused.message.rstrip('.')}"[:300])
    except StorageFailed:
        return _later(task, "S3 upload fails")


def _fetched(task: Task) -> FetchResult:
    with _large.admitting() as admit:
        fetched = remote.fetch(
            task.url,
            max_bytes=MAX_BYTES,
            deadline_s=DEADLINE_S,
            headers=task.condition,
            usual_bytes=USUAL_BYTES,
            admit=admit,
        )
        return _stored(task, fetched)


def _stored(task: Task, fetched: remote.Fetched) -> FetchResult:
    if fetched.status == 304:
        is_whole = all(storage.cdn.head(target.held or "") for target in task.targets)
        return FetchResult(is_unchanged=True) if is_whole else _fetched(replace(task, condition={}))
    picture = inspect(fetched.data)
    if picture.type not in TYPES:
        raise Invalid(f"The Image CDN takes {', '.join(map(extension_of, TYPES))}.")
    image_hash = hashlib.md5(fetched.data, usedforsecurity=False).hexdigest()
    published = strip_metadata(fetched.data, picture.type)
    if published is None:  # a film, or boxes in an unusual order: what we publish tells nobody's place (figure 13)
        raise Invalid("Its metadata can't be told from its pixels.")
    keys, put = _put(task, image_hash, published, picture.type)
    sizes = (len(fetched.data), len(published))
    etag, last_modified = _kept(fetched.etag, 300), _kept(fetched.last_modified, 100)
    return FetchResult(Copy(image_hash, keys, put, *sizes, picture, etag, last_modified))


def _kept(validator: str | None, most: int) -> str | None:
    """A validator to ask with another time; none where it can't be kept, or sent, as it is."""
    is_one = validator and len(validator) <= most and validator.isascii() and validator.isprintable()
    return validator if is_one else None


def _copied_again(task: Task, copy: Copy) -> FetchResult:
    """Store what this listing has already under another name: nothing is downloaded twice."""
    (key,) = copy.keys.values()
    data = storage.cdn.get(key)
    if data is None:
        return _fetched(task)
    keys, put = _put(task, copy.image_hash, data, copy.picture.type)
    return FetchResult(replace(copy, keys=keys, put=put))


def _put(task: Task, image_hash: str, data: bytes, type: str) -> tuple[dict[int, str], tuple[str, ...]]:
    """Store the bytes once for each target whose key has no object yet; return all keys, and the new ones."""
    keys = {target.image_id: target.key(task.prefix, image_hash, extension_of(type)) for target in task.targets}
    new = tuple(key for key in keys.values() if key not in task.stored or not storage.cdn.head(key))
    for key in new:
        storage.cdn.put(key, data, type)
    return keys, new


def _later(task: Task, reason: str, retry_after_s: int | None = None) -> FetchResult:
    if task.attempts > len(RETRY_AFTER_S):
        return FetchResult(reason=reason)  # seed A: "If all retries fail, the failure is logged"
    return FetchResult(reason=reason, again_in_s=max(RETRY_AFTER_S[task.attempts - 1], retry_after_s or 0))


def _said(error: Problem) -> str:
    """Why the PMS's picture can't be had, in the seed's words where it has some."""
    status = (error.details or {}).get("status")
    if error.code == "http_error" and status:
        return f"PMS image returns {status}"
    if error.code == "too_large":
        return "Image too large: it exceeds 50 MB"
    return f"PMS image can't be fetched: {error.message}"[:300]
