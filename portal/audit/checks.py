"""Compare one object with its row, in a thread and without the database."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from portal.audit.models import AuditWalk
from portal.errors import Invalid, StorageFailed, TooMany
from portal.images.variants import rendering
from portal.infra.storage import Bucket, ListedPage, ObjectContent, ObjectMetadata
from portal.inventory import CHANGED, LENGTH, MISSING, TYPE, Facts, damage_of, digest
from portal.pixels.derive import RenditionRecipe
from portal.pixels.inspect import inspect
from portal.pixels.rejection import is_transient

MAX_BYTES = 200 * 1024 * 1024  # of an object whose length no row has; the largest that MAX_FILE_MB allows
SMALLEST = RenditionRecipe(320, "image/jpeg")
WAIT_FOR_SLOT_S = 600


@dataclass
class Meter:
    """Makes the calls to the buckets, and counts them and their time."""

    lists: int = 0
    heads: int = 0
    gets: int = 0
    read_bytes: int = 0
    seconds: float = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def list(self, bucket: Bucket, after: str, most: int) -> ListedPage:
        with self._timed("lists"):
            return bucket.page(after, most)

    def head(self, bucket: Bucket, key: str) -> ObjectMetadata | None:
        with self._timed("heads"):
            return bucket.head(key)

    def read(self, bucket: Bucket, key: str, most_bytes: int) -> ObjectContent | None:
        with self._timed("gets"):
            found = bucket.read(key, most_bytes=most_bytes)
        with self._guard:
            self.read_bytes += len(found.data) if found and found.data else 0
        return found

    def move_to(self, walk: AuditWalk) -> None:
        """Add the counts to a walk's, and start counting again."""
        walk.list_requests += self.lists
        walk.head_requests += self.heads
        walk.get_requests += self.gets
        walk.read_bytes += self.read_bytes
        self.lists = self.heads = self.gets = self.read_bytes = 0

    @contextmanager
    def _timed(self, counter: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            with self._guard:
                setattr(self, counter, getattr(self, counter) + 1)
                self.seconds += time.monotonic() - began


class Checked(NamedTuple):
    """An object and its damage, or else what has been learnt about it."""

    expected: Facts
    damage: str | None = None  # one of inventory.DAMAGES
    reason: str = ""
    learnt: Facts | None = None  # of its bytes, if they were compared and are right


class Policy(NamedTuple):
    """Which objects are read and compared, besides those whose ETag differs from their row's."""

    is_sampled: bool = True
    reads_unknown: bool = True  # objects whose ETag no row knows


def check(meter: Meter, bucket: Bucket, expected: Facts, listed: ObjectMetadata | None, policy: Policy) -> Checked:
    """Compare an object with its row.

    An object that was not listed is asked for: it may have been written since. One that the bucket refuses to deliver
    counts as missing. Raises StorageFailed if the bucket is away.
    """
    try:
        return _check(meter, bucket, expected, listed, policy)
    except StorageFailed as error:
        if bucket.is_away(error):
            raise
        return Checked(expected, MISSING, f"The bucket doesn't deliver it: {error.details or error.message}"[:300])


def _check(meter: Meter, bucket: Bucket, expected: Facts, listed: ObjectMetadata | None, policy: Policy) -> Checked:
    found = listed
    if found is None and not policy.is_sampled:
        found = meter.head(bucket, expected.key)
        if found is None:
            return Checked(expected, MISSING)
    if found and expected.size_bytes is not None and found.size_bytes != expected.size_bytes:
        return Checked(expected, LENGTH)
    if found and not _must_read(found, expected, policy):
        return Checked(expected)
    most_bytes = MAX_BYTES if expected.size_bytes is None else expected.size_bytes
    content = meter.read(bucket, expected.key, most_bytes)
    if content is None:
        return Checked(expected, MISSING)
    if content.data is None:
        return Checked(expected, CHANGED if expected.size_bytes is None else LENGTH)
    if damage := damage_of(content.data, expected):
        return Checked(expected, damage)
    if expected.sha256 is None:
        return _adopted(expected, content)
    if content.type != expected.type:
        return Checked(expected, TYPE)
    return Checked(expected, learnt=_learnt(content, expected))


def _must_read(found: ObjectMetadata, expected: Facts, policy: Policy) -> bool:
    if policy.is_sampled or expected.damage or found.type not in (None, expected.type):
        return True
    return policy.reads_unknown if expected.etag is None else expected.etag != found.etag


def _learnt(content: ObjectContent, expected: Facts) -> Facts:
    assert content.data is not None
    return expected._replace(
        size_bytes=len(content.data), sha256=expected.sha256 or digest(content.data), etag=content.etag, damage=None
    )


def _adopted(expected: Facts, content: ObjectContent) -> Checked:
    """Take the hash of bytes that no row has described so far, if they are a picture that can be decoded."""
    assert content.data is not None
    if not rendering.slots().acquire(timeout=WAIT_FOR_SLOT_S):
        return Checked(expected)
    try:
        picture = inspect(content.data)
        rendering.derived(content.data, picture, SMALLEST)
    except Invalid as refused:
        if is_transient(refused):  # another time
            return Checked(expected)
        return Checked(expected, CHANGED, "It can't be decoded.")
    except TooMany:  # another time
        return Checked(expected)
    finally:
        rendering.slots().release()
    learnt = _learnt(content, expected._replace(type=picture.type))
    return (
        Checked(learnt._replace(etag=None), TYPE) if content.type != picture.type else Checked(expected, learnt=learnt)
    )
