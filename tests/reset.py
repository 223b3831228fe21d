"""What happens between two tests: everything that the last one stored is deleted."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path
from uuid import UUID

from sqlalchemy import select, update

from portal import config, installation
from portal.db import db, now
from portal.infra import jobs, storage
from portal.installation import Installation


def empty(s3: Path) -> None:
    """Empty database, Redis, cache and buckets; `s3` is the data folder of SeaweedFS."""
    with db.engine.begin() as connection:
        connection.execute(update(Installation).values(checked_at=now()))  # no check of the buckets during a test
        for table in reversed(db.metadata.sorted_tables):
            if table.name != Installation.__tablename__:
                connection.execute(table.delete())
    jobs.connection().flushall()
    shutil.rmtree(config.settings().data_dir / "cache", ignore_errors=True)  # tests share photos, and so their bytes
    global _left
    # Most tests store no object, and listing two buckets takes longer than everything else here.
    if (journal := _journal(s3)) != _left or not journal:
        _empty_buckets(is_due=next(_emptied) % 40 == 39)
        _left = _journal(s3)


_emptied = count()
_left: dict[Path, int] = {}


def _journal(s3: Path) -> dict[Path, int]:
    """The files of SeaweedFS's key store, with their sizes: each put and each deletion grows one."""
    try:
        return {file: file.stat().st_size for file in (s3 / "filerldb2").rglob("*.l*")}
    except FileNotFoundError:
        return {}  # some of them are being merged


def _empty_buckets(*, is_due: bool) -> None:
    """Delete all objects; now and then recreate the buckets themselves.

    SeaweedFS keeps the folders of deleted keys, and walks them all at each listing: after 600 of them that takes
    0.2 s, and there are thousands of tests. Nothing is written right afterwards: it might be deleted with the bucket.
    """
    for bucket, origins in ((storage.uploads, config.settings().page_origins), (storage.cdn, ())):
        bucket.delete(*[stored.key for stored in bucket.list()])
        if is_due:
            bucket.delete(storage.OWNER_KEY)
            bucket._client.delete_bucket(Bucket=bucket.name)
            bucket.prepare(origins)


def share_the_buckets() -> None:
    """Let the databases of all apps belong to one installation, so that they may share the buckets."""
    global _installation
    installation.claim_buckets()
    with db.engine.begin() as connection:
        _installation = _installation or connection.scalar(select(Installation.uuid))
        connection.execute(update(Installation).values(uuid=_installation))
    installation.claim_buckets()


_installation: UUID | None = None
