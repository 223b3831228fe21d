"""Properties, imports and webhooks for the screenshots, in the states that people meet."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from uuid import uuid4

from rq import Worker
from rq.serializers import JSONSerializer
from sqlalchemy import select, update

from portal import inventory
from portal.accounts.models import User, Workspace
from portal.audit.models import AuditFinding, AuditWalk
from portal.db import db, now
from portal.demo import first_run
from portal.images import gallery, imports, properties
from portal.images.models import FAILED, Image, Property
from portal.infra import jobs, storage
from portal.listings.catalogue import COPIED, WAITING
from portal.webhooks import endpoints, events
from portal.webhooks.models import Endpoint
from portal.work import work
from tests import factories
from tests.listings import rows
from tests.listings.rows import BUSY


def homes() -> tuple[User, Property, Property, Property]:
    """The demo property with a few more photos, a new one, and one with a failed photo."""
    first_run.prepare()
    first_run.add_photos()
    user = db.session.scalars(select(User)).one()
    home = db.session.scalars(select(Property)).one()
    for name, size, colour in [("hall.jpg", (1500, 1000), (150, 130, 110)), ("attic.jpg", (1200, 900), (90, 110, 140))]:
        factories.photo_in(home, factories.jpeg(*size, colour), name=name)
    _work_off()
    empty = properties.create(user.workspace, {"name": "Larch Cabin", "address": "Forest Way 9", "sleeps": 4})
    broken = factories.home_of(user.workspace, "Quay Loft")
    for number in range(3):
        factories.photo_in(broken, factories.jpeg(900, 600, (90 + 40 * number, 120, 150)), name=f"quay-{number}.jpg")
    _work_off()
    with work():
        reason = "The file ends too early: a part of it is missing."
        last = gallery.images(broken)[1].id
        db.session.execute(update(Image).where(Image.id == last).values(variants=FAILED, failure_reason=reason))
    return user, home, empty, broken


def lost(home: Property) -> Property:
    """A gallery whose second photo has lost its original, and whose third has it from the large variant."""
    with work():
        second, third = gallery.images(home)[1:3]
        inventory.mark(storage.uploads, {second.original_key: inventory.MISSING})
        db.session.get_one(Image, third.id).original_restored_at = now() - timedelta(days=2)
    return home


def audited(home: Property) -> AuditWalk:
    """An audit that repaired some of what it found in a gallery, and one that is running."""
    images = gallery.images(home)
    with work():
        options = {"repairs": True, "from_large": False, "sample": 100, "workspace_id": None}
        at = now() - timedelta(hours=9)
        last = AuditWalk(
            options=options, is_scheduled=True, started_at=at, finished_at=at + timedelta(minutes=3), phase="done"
        )
        last.checked, last.verified = 52_804, 1_790
        db.session.add(last)
        db.session.flush()
        for image, object, kind, how, reason in (
            (images[0], "large", "missing", "from_original", ""),
            (images[1], "original", "missing", None, "The original can't be made again."),
            (images[2], "original", "changed", "from_large", ""),
            (None, "rendition", "orphan", None, ""),
        ):
            found = AuditFinding(
                walk_id=last.id, kind=kind, object=object, key=f"{object}/{kind}", how=how, reason=reason
            )
            found.bucket, found.repaired, found.attempted_at = "cdn", how is not None, at
            found.image_uuid = image and image.uuid
            db.session.add(found)
    return last


def auditing() -> None:
    """An audit by command that is running."""
    with work():
        walk = AuditWalk(options={"repairs": False, "sample": 100}, runner="here 1 2", checked=21_400)
        walk.started_at, walk.running_until = now() - timedelta(minutes=2), now() + timedelta(minutes=3)
        db.session.add(walk)


def importing(home: Property) -> Property:
    """Two imports: one running, one that ended with failed links."""
    done = imports.start(home, [f"https://photos.example/{name}.jpg" for name in ("garden", "attic")])
    with work() as w:
        reasons = [("not_found", "The server answers 404."), ("unreachable", "The server doesn’t answer.")]
        for item, (code, message) in zip(imports.items(done), reasons, strict=True):
            imports.finish(w, item, code=code, message=message)
    going = imports.start(home, [f"https://photos.example/{number}.jpg" for number in range(6)])
    with work() as w:
        for item in imports.items(going)[:2]:
            imports.finish(w, item)
    return home


def called(user: User) -> Endpoint:
    """Two webhooks: one enabled, one whose receiver has been failing for a while."""
    fine = endpoints.create(user.workspace, "https://book.example/hooks/photos", ["property.updated"])
    failing = endpoints.create(user.workspace, "https://channel.example/frontage", ["property.updated"])
    with work() as w:
        for endpoint, statuses in ((fine, [200] * 18), (failing, [200] * 5 + [500, 0, 503, 500])):
            for number, status in enumerate(statuses):
                call = events.send(w, endpoint, events.PROPERTY_UPDATED, {"id": str(uuid4()), "numericId": number})
                db.session.flush()  # a new row is always due immediately
                call.attempts, call.status, call.took_ms, call.last_at = 1, status or None, 84 + number, now()
                call.answer = "ok" if status == 200 else "Out of order" if status else "The server doesn’t answer."
                call.state, call.next_at = ("delivered" if status == 200 else "failed"), None
        db.session.get_one(Endpoint, failing.id).failing_since = now() - timedelta(hours=3)
    return failing


def synced(workspace: Workspace) -> None:
    """Two accounts of a PMS: one syncing, with copies in all states, and one that was refused."""
    account, other = rows.account_of(workspace, "Alma by the sea"), rows.account_of(workspace, "Hostaway")
    copied = [
        rows.listing_of(account, *[COPIED] * 21, name="Heron House 1"),
        rows.listing_of(account, *[COPIED] * 19, *[FAILED] * 2, name="Heron House 2"),
        rows.listing_of(
            account, *[COPIED] * 9, BUSY, *[WAITING] * 11, name="Osprey Loft, third floor, with a round window"
        ),
    ]
    rows.listing_of(account, *[WAITING] * 21, name="Curlew Barn")
    with work() as w:
        for number, listing in enumerate(copied):  # the pictures of the list
            first, data = rows.images(listing)[0], factories.jpeg(300, 200, (70 + 40 * number, 110, 130))
            assert first.key
            first.image_hash = hashlib.md5(data, usedforsecurity=False).hexdigest()
            w.put(storage.cdn, first.key, data, "image/jpeg", inventory.COPY)
        account.started_at, account.next_at = now(), now() + timedelta(hours=1)
        account.pages, account.found, account.total = 3, 300, 1200
        other.error, other.failures = "Hostaway rejected these credentials.", 1


def staffed() -> None:
    """The workers of a machine with two cores, one of them busy."""
    queues = [jobs.PIXELS] * 2 + [jobs.NETWORK] * 2 + [jobs.WEBHOOKS, jobs.SYNC, jobs.CDN, jobs.SCHEDULE]
    for number, queue in enumerate(queues):
        worker = Worker([queue], connection=jobs.connection(), serializer=JSONSerializer, name=f"{queue}-{number}")
        worker.register_birth()
        if queue == jobs.CDN:
            jobs.enqueue(jobs.image_cdn_upload())
            worker.set_current_job_id(jobs.image_cdn_upload().id)


def _work_off() -> None:
    queue = jobs.queue(jobs.PIXELS)
    while not queue.is_empty():
        job = queue.fetch_job(queue.pop_job_id())
        if job:
            job.func(*job.args)
