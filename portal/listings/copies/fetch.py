"""Download, check, hash and store one picture, in a thread and without the database.

The objects are written here, before the transaction that names them, because consecutive uploads would take most of
its time. If that transaction fails, the objects stay: the next attempt writes the same bytes under the same key,
another worker may have named them meanwhile, and the nightly sweep deletes what no row names.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from portal import inventory, remote
from portal.dispatch import Candidate
from portal.errors import DiskFull, Invalid, Problem, StorageFailed, TooMany
from portal.infra import storage
from portal.inventory import COPY, LENGTH, MISSING, Damaged, Facts, Written
from portal.listings.models import GALLERY
from portal.pixels.inspect import inspect
from portal.pixels.picture import Picture
from portal.pixels.rejection import is_transient
from portal.pixels.strip import strip_metadata
from portal.pixels.types import extension_of, type_of
from portal.remote.large import LargeDownloads

MAX_BYTES = 50 * 1024 * 1024  # Image CDN contract: "Images larger than 50 MB are skipped"
USUAL_BYTES = 12 * 1024 * 1024  # larger downloads are limited in number, as they are held in memory
MAX_LARGE, LARGE_WAIT_S = 4, 5
DEADLINE_S = 30  # for one picture, redirects included
DISK_RETRY_S = 60
RETRY_AFTER_S = (10, 60, 5 * 60, 30 * 60, 2 * 3600)  # after 429, 5xx, timeouts and S3 errors
MAX_ATTEMPTS = 15  # interruptions included
TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/avif", "image/heic")  # by magic bytes


@dataclass(frozen=True)
class Target:
    """A ListingImage of this URL: the thumbnail is often the first gallery picture too, and is downloaded once."""

    image_id: int
    type: str
    position: int
    current_key: str | None  # the key of its copy, if it has one

    def key(self, prefix: str, image_hash: str, extension: str) -> str:
        """Return the key of the copy (Image CDN contract, "Image Storage Structure").

        A copy keeps its key when the picture moves in the gallery: tests/contracts/README.md, "Keys and deduplication".
        """
        if self.current_key and self.current_key.endswith(f"_{image_hash}.{extension}"):
            return self.current_key
        if self.type == GALLERY:
            return f"{prefix}gallery/{self.position}_{image_hash}.{extension}"
        return f"{prefix}thumbnail_{image_hash}.{extension}"


@dataclass(frozen=True)
class Task:
    """A URL of one listing as plain values, for a thread without database access."""

    candidate: Candidate
    listing_id: int
    prefix: str
    url: str
    targets: tuple[Target, ...]
    objects: Mapping[str, Facts | None]  # what is known of the objects that this listing's rows name, by key
    condition: dict[str, str]  # If-None-Match …, if there is a copy already
    existing_copy: "Copy | None"  # of this URL under the other type, already stored under its first key
    attempts: int


@dataclass(frozen=True)
class Copy:
    """A downloaded picture: `keys` by image id, and in `put` the objects that were written for it."""

    image_hash: str
    keys: dict[int, str]
    put: tuple[Written, ...]
    original_bytes: int
    delivered_bytes: int
    picture: Picture
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True)
class FetchResult:
    """The outcome of a task: a copy, or that the picture is unchanged, or the reason of a failure."""

    copy: Copy | None = None
    is_unchanged: bool = False
    reason: str = ""
    retry_in_s: float | None = None
    is_our_fault: bool = False  # not the PMS's fault: the attempt doesn't count
    damages: Mapping[str, str] = field(default_factory=dict)  # of stored objects, by key, as found on the way


_large = LargeDownloads(MAX_LARGE, LARGE_WAIT_S)


def perform(task: Task) -> FetchResult:
    """Download, check, strip and store a picture.

    Client errors, too large and invalid pictures fail immediately; 429, 5xx, timeouts and S3 errors are retried.
    Reasons use the wording of the Image CDN contract, "Error Handling and Fallbacks", where it has one.
    """
    if task.attempts > MAX_ATTEMPTS:
        return FetchResult(reason="The download was interrupted each time")
    try:
        storage.cdn.demand_room()
        return _reuse(task, task.existing_copy) if task.existing_copy else _fetch(task)
    except remote.Unreachable as error:
        return _retry_later(task, _reason(error), error.retry_after_s)
    except remote.RequestRefused as error:
        return FetchResult(reason=_reason(error))
    except TooMany as busy:
        return FetchResult(retry_in_s=busy.retry_after_s, is_our_fault=True)
    except Invalid as refused:
        if is_transient(refused):
            return _retry_later(task, refused.message.rstrip("."))
        return FetchResult(reason=f"Invalid image format: {refused.message.rstrip('.')}"[:300])
    except DiskFull:
        return FetchResult(retry_in_s=DISK_RETRY_S, is_our_fault=True)
    except StorageFailed:
        return _retry_later(task, "S3 upload fails")


def _fetch(task: Task) -> FetchResult:
    storage.cdn.demand_reachable()
    with _large.admitting() as admit:
        fetched = remote.fetch(
            task.url,
            max_bytes=MAX_BYTES,
            deadline_s=DEADLINE_S,
            headers=task.condition,
            usual_bytes=USUAL_BYTES,
            admit=admit,
        )
        return _store(task, fetched)


def _store(task: Task, fetched: remote.GetResponse) -> FetchResult:
    if fetched.status == 304:
        damages = {key: damage for key in _current_keys(task) if (damage := _damage(key, task.objects.get(key)))}
        return _download_again(task, damages) if damages else FetchResult(is_unchanged=True)
    picture = inspect(fetched.data)
    if picture.type not in TYPES:
        raise Invalid(f"The Image CDN supports {', '.join(map(extension_of, TYPES))}.")
    image_hash = hashlib.md5(fetched.data, usedforsecurity=False).hexdigest()
    published = strip_metadata(fetched.data, picture.type)
    if published is None:  # a film, or an unusual box order: never publish a location
        raise Invalid("Its metadata can't be separated from its pixels.")
    keys, put = _put(task, image_hash, published, picture.type)
    sizes = (len(fetched.data), len(published))
    etag, last_modified = _usable_validator(fetched.etag, 300), _usable_validator(fetched.last_modified, 100)
    return FetchResult(Copy(image_hash, keys, put, *sizes, picture, etag, last_modified))


def _usable_validator(validator: str | None, max_length: int) -> str | None:
    """Return a validator for later conditional requests, or None if it can't be stored or sent unchanged."""
    is_usable = validator and len(validator) <= max_length and validator.isascii() and validator.isprintable()
    return validator if is_usable else None


def _reuse(task: Task, copy: Copy) -> FetchResult:
    """Store a picture that this listing already has under another key, without downloading it again."""
    (key,) = copy.keys.values()
    try:
        data = inventory.verified(storage.cdn, task.objects.get(key) or _unknown(key))
    except Damaged as damaged:
        return _download_again(task, {key: damaged.damage})
    keys, put = _put(task, copy.image_hash, data, copy.picture.type)
    return FetchResult(replace(copy, keys=keys, put=put))


def _download_again(task: Task, damages: Mapping[str, str]) -> FetchResult:
    """Download a picture unconditionally, as stored copies turned out to be damaged."""
    marked = {key: (task.objects.get(key) or _unknown(key))._replace(damage=damage) for key, damage in damages.items()}
    result = perform(replace(task, condition={}, existing_copy=None, objects={**task.objects, **marked}))
    return replace(result, damages=damages)


def _put(task: Task, image_hash: str, data: bytes, type: str) -> tuple[dict[int, str], tuple[Written, ...]]:
    """Store the bytes under each key that has no intact object; return all keys by image id, and what was written.

    A key names the MD5 of the download, so the listing's damaged copies of the same download are repaired too.
    """
    extension = extension_of(type)
    keys = {target.image_id: target.key(task.prefix, image_hash, extension) for target in task.targets}
    damaged = [key for key, facts in task.objects.items() if facts and facts.damage]
    same = [key for key in damaged if key.endswith(f"_{image_hash}.{extension}")]
    new = [key for key in dict.fromkeys(keys.values()) if key not in same and not _is_stored(task, key)]
    return keys, tuple(inventory.write(storage.cdn, key, data, type, COPY) for key in [*same, *new])


def _is_stored(task: Task, key: str) -> bool:
    return key in task.objects and _damage(key, task.objects[key]) is None


def _damage(key: str, facts: Facts | None) -> str | None:
    """Return what is wrong with a stored object, by its length and ETag; it is read only if the ETag differs."""
    if facts and facts.damage:
        return facts.damage
    found = storage.cdn.head(key)
    if found is None:
        return MISSING
    if facts is None:
        return None
    if facts.size_bytes not in (None, found.size_bytes):
        return LENGTH
    if facts.etag in (None, found.etag):
        return None
    return inventory.damage_of(storage.cdn.get(key), facts)  # a bucket that was moved has other ETags


def _current_keys(task: Task) -> list[str]:
    return [target.current_key for target in task.targets if target.current_key]


def _unknown(key: str) -> Facts:
    """Return the facts of an object without a row in the inventory."""
    return Facts(key, COPY, type_of(key), None, None)


def _retry_later(task: Task, reason: str, retry_after_s: int | None = None) -> FetchResult:
    if task.attempts > len(RETRY_AFTER_S):
        return FetchResult(reason=reason)  # Image CDN contract: "If all retries fail, the failure is logged"
    return FetchResult(reason=reason, retry_in_s=max(RETRY_AFTER_S[task.attempts - 1], retry_after_s or 0))


def _reason(error: Problem) -> str:
    """Return why a picture can't be fetched, in the Image CDN contract's wording where it has one."""
    status = (error.details or {}).get("status")
    if error.code == "http_error" and status:
        return f"PMS image returns {status}"
    if error.code == "too_large":
        return "Image too large: it exceeds 50 MB"
    return f"PMS image can't be fetched: {error.message}"[:300]
