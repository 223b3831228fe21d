"""Download damaged copies again."""

from sqlalchemy import update

from portal.db import db, now
from portal.infra import jobs
from portal.listings.models import ListingImage
from portal.work import work


def schedule(key: str) -> None:
    """Make the pictures with this copy due, without the validators that would leave the copy as it is."""
    due = update(ListingImage).where(ListingImage.key == key, ListingImage.superseded_at.is_(None))
    values = {"next_at": now(), "etag": None, "last_modified": None, "attempts": 0}
    with work() as w:
        db.session.execute(due.values(values).execution_options(synchronize_session=False))
        w.enqueue(jobs.image_cdn_upload())
