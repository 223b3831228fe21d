"""Both buckets at once, and what becomes of the objects there that no row names."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from portal import orphans
from portal.db import db, now
from portal.garbage import Garbage
from portal.infra import storage
from portal.work import work

AT_ONCE = timedelta(seconds=-5)  # objects from the future are old enough too: the bucket's clock is another one


class Buckets:
    """Both buckets at once, for comparing what was there before and after."""

    def listing(self) -> set[tuple[str, str]]:
        return {(b.name, stored.key) for b in (storage.uploads, storage.cdn) for stored in b.list()}


def collect_orphans() -> list[str]:
    """Delete what no row names, as it would be in some days; return the keys of what went."""
    before = Buckets().listing()
    orphans.find(AT_ONCE, kept=timedelta())
    with work():
        db.session.execute(update(Garbage).values(next_at=now()))
    orphans.collect()
    return sorted(key for _, key in before - Buckets().listing())
