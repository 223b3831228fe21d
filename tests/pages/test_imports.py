"""Import by link in the gallery editor: the form, the card, polling, retries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from portal.accounts.plans import PLANS, Plan
from portal.db import db
from portal.images import imports
from portal.images.imports import fetch
from portal.images.models import Property
from tests import factories
from tests.factories import Person
from tests.outside import Outside, Reply, Seen, outside
from tests.pages.conftest import FRAGMENT, gallery_url


@pytest.fixture
def world() -> Iterator[Outside]:
    """Photos at /photo…, nothing elsewhere."""

    def answer(seen: Seen) -> Reply:
        return Reply(body=factories.jpeg(60, 40)) if seen.path.startswith("/photo") else Reply(404)

    with outside(answer) as host:
        yield host


def start(person: Person, home: Property, links: str, headers: dict[str, str] | None = None):  # type: ignore[no-untyped-def]
    return person.browser().post(f"{gallery_url(home)}/import", data={"links": links}, headers=headers or {})


def test_links_are_accepted_and_shown_as_running(alice: Person, home: Property, world: Outside) -> None:
    links = f"{world.url}/photo/1.jpg\n\n  {world.url}/photo/2.jpg\r\n"
    answer = start(alice, home, links, FRAGMENT)
    assert answer.status_code == 200
    assert json.loads(answer.headers["HX-Trigger"]) == {"import:started": {"links": 2}}
    assert "Importing 2 photos" in answer.text
    assert 'hx-trigger="tick from' in answer.text
    assert "Importing 2 photos" in alice.browser().get(gallery_url(home)).text  # and after a reload


def test_without_htmx_an_import_redirects_to_the_gallery(alice: Person, home: Property, world: Outside) -> None:
    assert '<dialog class="dialog dialog-s" id="import" aria-labelledby="import-t" open>' in (
        alice.browser().get(f"{gallery_url(home)}/import").text
    )
    assert start(alice, home, f"{world.url}/photo/1.jpg").location == gallery_url(home)


WRONG = [
    ("", "Paste at least one link."),
    ("https://example.com/a.jpg\n" * 21, "Paste at most 20 links. You pasted 21."),
    ("https://example.com/a.jpg\n\nnonsense", "Line 3: "),
    ("https://example.com/" + "a" * 2048, "Line 1: A URL may have at most 2048 characters."),
]


def test_errors_are_shown_in_place(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for links, said in WRONG:
        with subtests.test(links=links, said=said):
            for headers in ({}, FRAGMENT):
                answer = start(alice, home, links, headers)
                assert answer.status_code == 422
                assert said in answer.text
                assert 'aria-invalid="true"' in answer.text
                assert links.strip()[:40] in answer.text
                assert ("<html" in answer.text) is not bool(headers)


def test_links_over_quota_are_refused_in_place(alice: Person, home: Property, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLANS, "free", Plan("free", "Free", images_per_property=2, imports_per_month=9))
    for _ in range(2):
        factories.photo_in(home, factories.jpeg(30, 20))
    answer = start(alice, home, "https://example.com/a.jpg", FRAGMENT)
    assert answer.status_code == 422
    assert "there is no room for 1 more" in answer.text


def test_polling_shows_the_result_and_the_failed_links(alice: Person, home: Property, world: Outside) -> None:
    start(alice, home, f"{world.url}/photo/1.jpg\n{world.url}/none.jpg", FRAGMENT)
    (job,) = imports.recent(home, timedelta(minutes=1))
    browser, url = alice.browser(), f"{gallery_url(home)}/progress?importing={job.uuid}"
    tag = browser.get(url, headers=FRAGMENT).headers["HX-PTag"]
    assert browser.get(url, headers=FRAGMENT | {"HX-PTag": tag}).status_code == 304
    fetch.run()
    answer = browser.get(url, headers=FRAGMENT | {"HX-PTag": tag})
    events = json.loads(answer.headers["HX-Trigger"])
    assert events["imports:ended"] == {"text": "Imported 1 of 2 photos."}
    assert "photos:changed" in events
    assert "1 link failed" in answer.text
    assert "none.jpg" in answer.text


def test_failed_links_are_retried(alice: Person, home: Property, world: Outside) -> None:
    start(alice, home, f"{world.url}/none.jpg", FRAGMENT)
    fetch.run()
    (job,) = imports.recent(home, timedelta(minutes=1))
    answer = alice.browser().post(f"{gallery_url(home)}/imports/{job.uuid}/try-again", headers=FRAGMENT)
    assert "Importing 1 photo" in answer.text
    db.session.rollback()
    assert imports.find(home, str(job.uuid)).completed_at is None


def test_a_hidden_import_is_not_drawn_but_still_announced(alice: Person, home: Property, world: Outside) -> None:
    start(alice, home, f"{world.url}/photo/1.jpg", FRAGMENT)
    (job,) = imports.recent(home, timedelta(minutes=1))
    browser = alice.browser()
    browser.set_cookie("imports", str(job.id))
    page = browser.get(gallery_url(home)).text
    assert "Importing" not in page
    assert f'name="importing" value="{job.uuid}"' in page
