"""Both buckets together, and the collection of objects that no row names."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from portal import orphans
from portal.db import db, now
from portal.garbage import Garbage
from portal.infra import storage
from portal.work import work

AT_ONCE = timedelta(seconds=-5)  # the bucket's clock may be ahead: objects from the future are old enough too


class Buckets:
    """A snapshot of both buckets, to compare before and after."""

    def listing(self) -> set[tuple[str, str]]:
        return {(b.name, stored.key) for b in (storage.uploads, storage.cdn) for stored in b.list()}


def collect_orphans() -> list[str]:
    """Delete the objects that no row names, as the sweep would within days; return the deleted keys."""
    before = Buckets().listing()
    orphans.find(AT_ONCE, keep_for=timedelta())
    with work():
        db.session.execute(update(Garbage).values(next_at=now()))
    orphans.collect()
    return sorted(key for _, key in before - Buckets().listing())
