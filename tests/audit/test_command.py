"""The command: its JSON, its exit codes, and what makes it refuse to do anything."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from portal import config, orphans
from portal.audit import command, walk
from portal.audit.lease import Options, leased
from portal.audit.models import AuditFinding, AuditWalk
from portal.db import db, now
from portal.errors import Conflict
from portal.images.models import Property
from portal.infra import storage
from portal.installation import Installation
from portal.inventory import LARGE, ORIGINAL, THUMB, StoredObject
from portal.webhooks import events
from portal.work import work
from tests import factories
from tests.audit import rubble
from tests.audit.rubble import Gallery
from tests.buckets import AT_ONCE, Buckets
from tests.conftest import on_each
from tests.factories import Person
from tests.faults import bucket_behind_a_proxy, database_failing_at
from tests.images.galleries import rows_without_pixels


@pytest.fixture
def gallery(home: Property) -> Gallery:
    return rubble.gallery(home)


@pytest.fixture
def old_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects without a row are unknown immediately, not a day later."""
    monkeypatch.setattr(orphans, "GRACE", AT_ONCE)


def test_the_json_has_the_agreed_fields(app: Flask, gallery: Gallery) -> None:
    rubble.delete(*gallery.objects[THUMB])
    _, reported = rubble.audit(app)
    assert reported == {
        "checked": 8,
        "findings": [
            {
                "kind": "missing",
                "object": "thumb",
                "bucket": storage.cdn.name,
                "key": gallery.objects[THUMB][1],
                "imageId": str(gallery.image.uuid),
                "repaired": False,
                "how": None,
                "reason": None,
            }
        ],
        "left": 1,
    }


def test_without_json_it_prints_lines_for_a_person(app: Flask, gallery: Gallery) -> None:
    rubble.delete(*gallery.objects[THUMB])
    result = app.test_cli_runner().invoke(args=["audit", "--repair"])
    assert result.exit_code == 0
    finding, summary = result.stdout.splitlines()
    assert finding == f"missing thumb: {storage.cdn.name}/{gallery.objects[THUMB][1]}: repaired (from_original)"
    assert summary == "Checked 8 objects, and the bytes of 7. Found 1, repaired 1, left 0."
    assert result.stderr == ""


def test_on_a_terminal_it_shows_how_far_it_is(app: Flask, gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_is_terminal", lambda: True)
    rubble.delete(*gallery.objects[THUMB])
    result = app.test_cli_runner().invoke(args=["audit", "--repair", "--json"])
    shown = [line.strip() for line in result.stderr.split("\r")]
    assert "Checked 0 of 8 objects" in shown
    assert "Checked 8 of 8 objects, 1 findings to go" in shown
    assert result.stderr.endswith("\n")
    assert json.loads(result.stdout)["left"] == 0


@on_each
def test_objects_of_one_workspace_alone(app: Flask, gallery: Gallery, charlie: Person) -> None:
    theirs = rubble.finished(factories.home_of(charlie.workspace), 1)
    assert theirs
    rubble.delete(*gallery.objects[LARGE])
    assert rubble.audit(app, "--workspace", "Corvid Homes") == (0, {"checked": 3, "findings": [], "left": 0})
    code, reported = rubble.audit(app, "--workspace", "Alma Stays", "--sample", "0", "--repair")
    assert (code, reported["checked"], len(reported["findings"])) == (0, 8, 1)


@pytest.mark.parametrize("arguments", [["--workspace", "Nobody's"], ["--sample", "101"]])
def test_what_it_does_not_understand_is_2(app: Flask, arguments: list[str]) -> None:
    assert rubble.audit(app, *arguments) == (2, {})


def test_a_bucket_that_is_away_is_2_and_the_walk_goes_on_later(
    app: Flask, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    rubble.delete(*gallery.objects[THUMB])
    monkeypatch.setattr(walk.pages, "PAGE", 2)
    with bucket_behind_a_proxy(read_timeout_s=0.2) as front:
        cdn = f"/{storage.cdn.name}"
        front.answer = lambda asked: 503 if sum(each.path.startswith(cdn) for each in front.asked) > 6 else None
        assert rubble.audit(app) == (2, {})
    stopped = db.session.scalars(select(AuditWalk)).one()
    assert stopped.key
    assert stopped.runner is None
    code, reported = rubble.audit(app)
    assert (code, reported["checked"]) == (1, 8)
    assert db.session.scalars(select(AuditWalk)).one().id == stopped.id


def test_a_database_that_is_away_is_2(app: Flask, gallery: Gallery) -> None:
    with database_failing_at(30):
        assert rubble.audit(app) == (2, {})
    assert rubble.audit(app) == (0, {"checked": 8, "findings": [], "left": 0})


def test_an_object_that_the_bucket_does_not_deliver_is_missing(app: Flask, gallery: Gallery) -> None:
    _, key = gallery.objects[LARGE]
    with bucket_behind_a_proxy() as front:
        front.answer = lambda asked: 403 if asked.method == "GET" and asked.path.endswith(key) else None
        code, reported = rubble.audit(app)
    (finding,) = reported["findings"]
    assert (code, finding["key"], finding["kind"]) == (1, key, "missing")
    assert "403" in finding["reason"]


def test_another_running_audit_is_2(app: Flask, gallery: Gallery) -> None:
    with leased(Options()), pytest.raises(Conflict), leased(Options(sample=1)):
        pass
    with leased(Options()):
        assert rubble.audit(app) == (2, {})
    assert rubble.audit(app)[0] == 0


def test_a_process_that_lost_its_walk_stops(app: Flask, gallery: Gallery) -> None:
    with leased(Options()) as lease:
        with work():
            db.session.execute(update(AuditWalk).values(runner="elsewhere 1 x"))
        with pytest.raises(Conflict, match="taken over"):
            walk.advance(walk.Run(lease))
    assert db.session.scalar(select(AuditWalk.runner)) == "elsewhere 1 x"


def test_buckets_of_another_installation_are_2_and_nothing_is_done(app: Flask, gallery: Gallery) -> None:
    rubble.delete(*gallery.objects[THUMB])
    owner = storage.cdn.get(storage.OWNER_KEY) or b""
    storage.cdn.put(storage.OWNER_KEY, b"another", "text/plain")
    try:
        assert rubble.audit(app, "--repair") == (2, {})
    finally:
        storage.cdn.put(storage.OWNER_KEY, owner, "text/plain")
        with work():
            db.session.execute(update(Installation).values(owns_buckets=True, checked_at=now()))
    assert not db.session.scalars(select(AuditWalk)).all()
    assert not rubble.right(gallery, THUMB)


def test_a_bucket_without_most_originals_is_the_wrong_one(
    app: Flask, home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found and named, but neither marked nor announced nor replaced: they are probably elsewhere."""
    emitted = rubble.subscribe(home, events.IMAGE_DAMAGED, events.PROPERTY_UPDATED)
    monkeypatch.setattr(walk, "MIN_LOST", 4)
    rows_without_pixels(home, 6)
    db.session.rollback()
    home_id, originals = home.id, [image.original_key for image in rubble.images(home)]
    storage.uploads.delete(*originals[:4])
    result = app.test_cli_runner().invoke(args=["audit", "--from-large"])
    assert result.exit_code == 2
    assert "4 of 6 originals are missing. Is frontage-uploads the right bucket?" in result.stderr
    assert "left 4" in result.stdout
    assert rubble.damages() == {}
    assert emitted() == []
    assert not any(image.original_restored_at for image in rubble.images(db.session.get_one(Property, home_id)))
    storage.uploads.put(originals[0], b"x", "image/jpeg")
    code, reported = rubble.audit(app, "--repair")
    assert (code, reported["left"]) == (1, 3), "they may as well have been lost"


@pytest.mark.usefixtures("old_enough")
def test_a_database_that_knows_few_of_the_objects_is_an_old_one(
    app: Flask, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "MAX_UNKNOWN", 2)
    rubble.delete(*gallery.objects[THUMB])
    for number in range(3):
        storage.cdn.put(f"properties/0/{number}-lg.webp", b"x", "image/webp")
    code, reported = rubble.audit(app, "--repair")
    assert code == 2
    kinds = [(each["kind"], each["object"]) for each in reported["findings"]]
    assert kinds == [("missing", "thumb")] + 3 * [("orphan", "large")]
    assert reported["left"] == 4
    assert not rubble.right(gallery, THUMB)


@pytest.mark.usefixtures("old_enough")
def test_unknown_objects_are_named_and_never_deleted(app: Flask, home: Property) -> None:
    factories.uploaded(home, factories.jpeg(16, 12))  # may still be confirmed
    storage.uploads.put("images/unknown.jpg", b"x", "image/jpeg")
    storage.cdn.put("garbage.webp", b"x", "image/webp")
    with work():
        orphans.add([(storage.cdn, "garbage.webp")], after=timedelta(days=1))
    before = Buckets().listing()
    code, reported = rubble.audit(app, "--repair")
    assert code == 1
    assert [(each["kind"], each["key"]) for each in reported["findings"]] == [("orphan", "images/unknown.jpg")]
    assert Buckets().listing() == before


def test_an_object_without_a_row_that_is_young_may_still_get_one(app: Flask) -> None:
    storage.cdn.put("young.webp", b"x", "image/webp")
    assert rubble.audit(app) == (0, {"checked": 0, "findings": [], "left": 0})


def test_rows_without_a_hash_adopt_what_can_be_decoded(app: Flask, gallery: Gallery) -> None:
    """As after an upgrade from a release without the inventory."""
    before = {kind: rubble.row_of(place).sha256 for kind, place in gallery.objects.items()}
    with work():
        db.session.execute(update(StoredObject).values(sha256=None, etag=None, size_bytes=None))
    storage.cdn.put(gallery.objects[THUMB][1], b"RIFF nonsense", "image/webp")
    code, reported = rubble.audit(app, "--repair")
    assert code == 0
    assert [(each["object"], each["kind"], each["how"]) for each in reported["findings"]] == [
        (THUMB, "changed", "from_original")
    ]
    rows = {kind: rubble.row_of(place) for kind, place in gallery.objects.items() if kind != THUMB}
    assert {kind: row.sha256 for kind, row in rows.items()} == {k: v for k, v in before.items() if k != THUMB}
    assert all(row.is_adopted and row.etag and row.size_bytes for row in rows.values())
    assert rubble.row_of(gallery.objects[THUMB]).replaced_by == gallery.image.thumb_key
    assert rubble.audit(app) == (0, {"checked": 9, "findings": [], "left": 0})


def test_the_pages_of_a_large_bucket_meet_whatever_is_missing_on_either_side(
    app: Flask, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "GRACE", AT_ONCE)
    expected = {gallery.objects[LARGE][1], gallery.objects[ORIGINAL][1]}
    for kind in (LARGE, ORIGINAL):
        rubble.delete(*gallery.objects[kind])
    for number in range(7):
        expected.add(f"properties/{number}/{number}-lg.webp")
        storage.cdn.put(f"properties/{number}/{number}-lg.webp", b"x", "image/webp")
    monkeypatch.setattr(walk.pages, "PAGE", 3)
    code, reported = rubble.audit(app)
    assert (code, reported["checked"]) == (1, 8)
    assert sorted(each["key"] for each in reported["findings"]) == sorted(expected)


def test_old_walks_are_deleted_with_their_findings(app: Flask, gallery: Gallery) -> None:
    rubble.delete(*gallery.objects[THUMB])
    rubble.audit(app)
    with work():
        db.session.execute(update(AuditWalk).values(finished_at=now() - timedelta(days=91)))
    rubble.audit(app, "--repair")
    assert len(db.session.scalars(select(AuditFinding)).all()) == 1


def test_the_setting_is_checked() -> None:
    with pytest.raises(config.WrongSetting, match="AUDIT_DAYS"):
        config.from_environment({"AUDIT_DAYS": "-1", "SECRET_KEY": "x" * 32})
    assert replace(config.from_environment({"AUDIT_DAYS": "0", "SECRET_KEY": "x" * 32})).audit_days == 0
