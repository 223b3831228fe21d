"""An audit that is killed at any step and resumed finds, repairs and announces the same as one that was not."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import select

from portal import config
from portal.audit import walk
from portal.audit.lease import LEASE, Options, leased
from portal.audit.models import ANNOUNCE, AuditWalk
from portal.audit.run import Run
from portal.db import db, now
from portal.errors import Conflict
from portal.images.models import Property
from portal.infra import storage
from portal.inventory import LARGE, ORIGINAL, RENDITION, THUMB
from portal.webhooks import events
from portal.work import work
from tests.audit import rubble
from tests.audit.rubble import Gallery
from tests.conftest import BOTH
from tests.crashes import dies_at

REPAIRING: dict[str, Any] = {"repairs": True, "from_large": True, "sample": 100}


def ruin(gallery: Gallery) -> None:
    """Damage objects of the first photo; the second one's variants can't be made byte for byte again."""
    rubble.delete(*gallery.objects[ORIGINAL])
    rubble.spoil(*gallery.objects[RENDITION])
    rubble.retype(*gallery.objects[THUMB])
    _, other = rubble.images(gallery.home)
    for key in (other.large_key or "", other.thumb_key or ""):
        rubble.store_older(key)
        rubble.delete(storage.cdn, key)


def audit(page: int) -> None:
    """As the command does; small pages have more steps."""
    walk.pages.PAGE = page
    rubble.walked(**REPAIRING)


def outcome(found: list[tuple[Any, ...]], gallery: Gallery) -> set[tuple[Any, ...]]:
    """Findings as those of another gallery would be: by kind of object, without keys."""
    first = gallery.image.uuid
    return {(kind, object, uuid == first, repaired, how) for kind, object, _, _, uuid, repaired, how, _ in found}


EXPECTED = {
    ("missing", ORIGINAL, True, True, "from_large"),
    ("changed", RENDITION, True, True, "from_original"),
    ("type", THUMB, True, True, None),
    ("missing", LARGE, False, True, "from_original"),
    ("missing", THUMB, False, True, "from_original"),
}


def test_an_audit_that_is_killed_goes_on_where_it_was(home: Property) -> None:
    gallery = rubble.gallery(home)
    ruin(gallery)
    emitted = rubble.subscribe(home, events.PROPERTY_UPDATED, events.IMAGE_DAMAGED)
    assert not dies_at(60, config.settings(), audit, 3), "while it compares"
    assert not dies_at(190, config.settings(), audit, 3), "while it repairs"
    db.session.rollback()
    done = rubble.walked(**REPAIRING)
    assert db.session.scalars(select(AuditWalk)).all() == [done]
    assert outcome(rubble.found(done), gallery) == EXPECTED
    assert len(emitted()) == 1
    assert rubble.found(rubble.walked()) == []


def unfinished() -> Any:
    return select(AuditWalk.id).where(AuditWalk.finished_at.is_(None))


def last() -> Any:
    return select(AuditWalk).order_by(AuditWalk.id.desc()).limit(1)


@pytest.mark.storm
@pytest.mark.timeout(900)
@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_twenty_random_kills(home: Property) -> None:
    chance = random.Random(19)
    gallery = rubble.gallery(home)
    ruin(gallery)
    emitted = rubble.subscribe(home, events.PROPERTY_UPDATED, events.IMAGE_DAMAGED)
    for _ in range(20):
        dies_at(chance.randint(1, 60), config.settings(), audit, 1)
    db.session.rollback()
    done = rubble.walked(**REPAIRING) if db.session.scalar(unfinished()) else db.session.scalars(last()).one()
    first = db.session.scalars(select(AuditWalk).order_by(AuditWalk.id).limit(1)).one()
    assert outcome(rubble.found(first), gallery) == EXPECTED
    assert len(emitted()) == 1
    assert done.finished_at


def test_a_walk_with_other_options_starts_again(home: Property) -> None:
    gallery = rubble.gallery(home)
    rubble.delete(*gallery.objects[THUMB])
    with leased(Options()) as lease:
        first = lease.walk_id
    with leased(Options()) as lease:
        assert lease.walk_id == first
    with leased(Options(sample=50)) as lease:
        assert lease.walk_id != first
    assert "interrupted" in (db.session.get_one(AuditWalk, first, populate_existing=True).message or "")


def test_repairs_of_a_walk_that_is_not_resumed_are_announced_by_the_next_one(home: Property) -> None:
    gallery = rubble.gallery(home)
    ruin(gallery)
    emitted = rubble.subscribe(home, events.PROPERTY_UPDATED)
    with leased(Options(**REPAIRING)) as lease:
        run = Run(lease)
        while db.session.get_one(AuditWalk, lease.walk_id, populate_existing=True).phase != ANNOUNCE:
            run.ends_at_s = 0  # one step at a time
            walk.advance(run)
    rubble.walked()  # with other options, so that the first one ends here
    assert emitted() == []
    rubble.walked(repairs=True)
    assert len(emitted()) == 1


def test_the_lease_of_a_process_on_another_machine_ends_by_itself(home: Property) -> None:
    with leased(Options()) as lease:
        walk_id = lease.walk_id
    with work():
        row = db.session.get_one(AuditWalk, walk_id, populate_existing=True)
        row.runner, row.running_until = "elsewhere 1 x", now() + LEASE
    with pytest.raises(Conflict), leased(Options()):
        pass
    with work():
        db.session.get_one(AuditWalk, walk_id, populate_existing=True).running_until = now()
    with leased(Options()) as lease:
        assert lease.walk_id == walk_id
