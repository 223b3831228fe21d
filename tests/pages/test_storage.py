"""The page Storage: counts of the installation, the audit's walks, and findings of the own workspace only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from portal import inventory
from portal.audit.models import AuditFinding, AuditWalk
from portal.audit.overview import stored
from portal.db import db, now
from portal.images.models import Image, Property
from portal.infra import storage
from portal.inventory import COPY, LARGE, MISSING, ORIGINAL, THUMB
from portal.work import work
from tests import factories
from tests.conftest import on_each
from tests.factories import Person
from tests.images.galleries import finished, now_in
from tests.listings import stays
from tests.pages.conftest import FRAGMENT

PATH = "/settings/storage"
REPAIR = {"repairs": True, "from_large": False, "sample": 100, "workspace_id": None}


@pytest.fixture
def image(home: Property) -> Image:
    finished(home, 2)
    return now_in(home)[0]


def walk(*, is_over: bool = True, options: dict[str, object] | None = None, **columns: object) -> AuditWalk:
    with work():
        made = AuditWalk(options=options or REPAIR, started_at=now() - timedelta(minutes=5), **columns)
        if is_over:
            made.finished_at, made.phase = now() - timedelta(minutes=2), "done"
        db.session.add(made)
    return made


def found(walk: AuditWalk, image: Image | None, object: str, kind: str = MISSING, **columns: object) -> None:
    with work():
        values = {"bucket": "cdn", "key": f"{object} {kind} {image and image.id}"} | columns
        finding = AuditFinding(walk_id=walk.id, object=object, kind=kind, **values)
        finding.image_uuid = image and image.uuid
        db.session.add(finding)


def page(person: Person) -> str:
    answer = person.browser().get(PATH)
    assert answer.status_code == 200
    return answer.text


@on_each
def test_objects_and_bytes_are_counted_by_kind(alice: Person, home: Property, image: Image) -> None:
    with work():
        inventory.mark(storage.uploads, {image.original_key: MISSING})
    counts = {each.kind: each for each in stored()}
    assert [counts[kind].objects for kind in (ORIGINAL, LARGE, THUMB, COPY)] == [2, 2, 2, 0]
    assert counts[ORIGINAL].size_bytes == sum(each.size_bytes for each in now_in(home))
    assert [counts[kind].damaged for kind in (ORIGINAL, LARGE)] == [1, 0]
    text = page(alice)
    assert "1 damaged, not repaired" in text
    assert "No audit has run yet." in text and "flask --app app audit" in text


@on_each
def test_findings_are_shown_with_repairs_and_reasons_in_plain_words(alice: Person, image: Image) -> None:
    last = walk(checked=12_000, verified=400)
    reason = "The original of this photo is missing from storage. Upload it again."
    found(last, image, LARGE, repaired=True, how="from_original", attempted_at=now())
    found(last, image, THUMB, "changed", reason=reason, attempted_at=now())
    found(last, None, ORIGINAL, "orphan")
    text = page(alice)
    for words in ("12,000, 400 byte for byte", "Large picture missing.", "Made again from the original.", "1 left"):
        assert words in text, words
    assert f"Thumbnail overwritten. {reason}" in text
    assert text.index("Thumbnail overwritten") < text.index("Large picture missing."), "first what is left"
    assert f"?photo={image.uuid}" in text
    assert "deleted automatically after 7 days" in text


def test_what_to_do_depends_on_what_is_left(alice: Person, image: Image) -> None:
    looked = walk(options=REPAIR | {"repairs": False})
    found(looked, image, LARGE)
    assert "flask --app app audit --repair</code>" in page(alice)
    repaired = walk()
    found(repaired, image, ORIGINAL, attempted_at=now(), reason="It is gone.")
    assert "--repair --from-large</code>" in page(alice)
    replaced = walk()
    found(replaced, image, ORIGINAL, attempted_at=now(), repaired=True, how="from_large")
    text = page(alice)
    assert "Best copy left" in text and "upload these photos again" in text and "--from-large" not in text
    best = walk()
    found(best, image, LARGE, attempted_at=now(), repaired=True, how="from_original")
    text = page(alice)
    assert "Nothing left to repair" in text and "What to do" not in text
    walk(message="Is uploads the right bucket?")
    assert "Is uploads the right bucket?" in page(alice)


def test_a_running_walk_shows_its_progress_and_an_interrupted_one_how_to_resume_it(alice: Person) -> None:
    walk(checked=200)
    running = walk(is_over=False, runner="here", running_until=now() + timedelta(minutes=1), checked=50)
    text = page(alice)
    assert "50 of about 200 files compared, none damaged" in text and 'aria-valuenow="25"' in text
    assert 'hx-trigger="tick from:body"' in text
    with work():
        running.running_until = now() - timedelta(minutes=1)
    text = page(alice)
    assert "Interrupted" in text and "flask --app app audit --repair</code>" in text
    assert 'hx-trigger="slow-tick from:body"' in text


def test_polling_gets_304_until_something_changes(alice: Person, image: Image) -> None:
    browser, last = alice.browser(), walk()
    first = browser.get(PATH, headers=FRAGMENT)
    assert "<html" not in first.text and 'id="storage-live"' in first.text
    seen = FRAGMENT | {"HX-PTag": first.headers["HX-PTag"]}
    assert browser.get(PATH, headers=seen).status_code == 304
    found(last, image, LARGE)
    assert browser.get(PATH, headers=seen).status_code == 200


@on_each
def test_an_admin_sees_only_findings_of_the_own_workspace(
    alice: Person, bob: Person, charlie: Person, image: Image
) -> None:
    den = factories.home_of(charlie.workspace, "Corvid Den")
    finished(den, 1)
    listing = stays.listed(charlie.workspace, pictures=2)
    stays.copied(listing, factories.jpeg(), position=1)
    copy = next(each for each in stays.images(listing) if each.key)
    last = walk(message="Is frontage-uploads the right bucket?")
    found(last, image, ORIGINAL)
    found(last, image, THUMB, reason="Alice's reason.")
    found(last, now_in(den)[0], LARGE, reason="Charlie's reason.")
    found(last, None, COPY, key=copy.key, reason="The PMS has it no longer.")
    own, foreign = page(charlie), page(alice)
    assert "Charlie" in own and "The PMS has it no longer." in own and "Alice" not in own
    assert f"/listings/{listing.uuid}" in own
    assert "reason." in foreign and "Corvid" not in foreign and "PMS has it" not in foreign
    for text in (own, foreign):
        assert "Originals missing" in text or "Original missing" in text
        assert copy.key not in text and image.original_key not in text
    assert "frontage-uploads" in foreign and "frontage-uploads" not in own, "for operators"
    assert "--repair" not in own
    assert bob.browser().get(PATH).status_code == 403
    assert f'href="{PATH}"' not in bob.browser().get("/settings/you").text
    assert f'href="{PATH}"' in alice.browser().get("/settings/you").text


def test_the_number_of_statements_does_not_grow(alice: Person, image: Image, statements: Callable[..., int]) -> None:
    last = walk()
    found(last, image, LARGE)
    browser = alice.browser()
    before = statements(browser.get, PATH)
    for number in range(60):
        found(last, image, THUMB, key=f"another {number}")
    assert statements(browser.get, PATH) == before
    assert "There are more." in page(alice)
