"""Objects that nobody names: collected, after a grace, from a bucket whose owners say what is theirs."""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice

from portal.db import db, now
from portal.storage import Bucket, Stored
from portal.work import quietly

log = logging.getLogger(__name__)

GRACE = timedelta(days=1)  # far longer than any confirm: what is older and has no row will never have one (case J3)
BATCH = 500
SUSPICIOUS, SUSPICIOUS_SHARE = 200, 0.2  # more orphans than these are another installation's photos

Named = Callable[[Sequence[str]], set[str]]  # which of these keys have a row


def collect(bucket: Bucket, owners: Sequence[Named], grace: timedelta = GRACE) -> list[str]:
    """Delete the objects, older than `grace`, that no owner names; return their keys.

    What a crash left between a put and its commit, a drop that failed, a second PUT through a used URL.
    Deletes nothing where so much has no row that the database can't be the bucket's.
    """
    gone: list[str] = []
    seen = 0
    for page in _pages(stored for stored in bucket.list() if stored.modified_at < now() - grace):
        keys = [stored.key for stored in page]
        alive = set[str]().union(*(named(keys) for named in owners))
        db.session.rollback()  # end the reading: the next page is compared with the rows of that moment
        gone += [key for key in keys if key not in alive]
        seen += len(keys)
    if len(gone) > max(SUSPICIOUS, seen * SUSPICIOUS_SHARE):
        log.error(
            "%d of %d objects in %s have no row here: is this its database? None was deleted.",
            len(gone),
            seen,
            bucket.name,
        )
        return []
    for key in gone:
        quietly(bucket.delete, key)
    return gone


def _pages(items: Iterator[Stored]) -> Iterator[list[Stored]]:
    while page := list(islice(items, BATCH)):
        yield page
