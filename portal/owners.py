"""Who keeps objects in which bucket: the one place that knows them all. What none of them names is nobody's."""

from datetime import timedelta

from portal import orphans, storage
from portal.images import tidying
from portal.listings import catalogue

UPLOADS: tuple[orphans.Named, ...] = (tidying.named_in_uploads,)
CDN: tuple[orphans.Named, ...] = (tidying.named_in_cdn, catalogue.named_in_cdn)


def collect_orphans(grace: timedelta = orphans.GRACE) -> list[str]:
    """Delete what nobody names in either bucket, once it is older than `grace`; return the keys."""
    return [*orphans.collect(storage.uploads, UPLOADS, grace), *orphans.collect(storage.cdn, CDN, grace)]
