"""The table of properties and its forms."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal.db import db
from portal.images import gallery, keys, properties
from portal.images.models import Property
from tests.buckets import Buckets
from tests.factories import Person, home_of, photo_in
from tests.pages.conftest import HTMX

FORM = {
    "name": "Beck House",
    "address": "1 Lane",
    "bedrooms": "3",
    "bathrooms": "1.5",
    "sleeps": "",
    "external_ref": "B-1",
}


def test_the_table_shows_each_property_with_its_cover(alice: Person, home: Property) -> None:
    image = photo_in(home)
    photo_in(home)
    gallery.describe(home, str(image.uuid), "The hall")
    page = alice.browser().get("/properties").text
    assert "Alder Cottage" in page and "4 Mill Lane" in page
    assert keys.image_url(image, 320) in page
    assert "1 missing" in page
    assert f'href="/properties/{home.uuid}/photos"' in page


def test_without_a_property_there_is_one_sentence_and_one_button(alice: Person) -> None:
    page = alice.browser().get("/properties").text
    assert "No properties yet" in page
    assert "<table" not in page and 'id="find"' not in page


def test_a_search_answers_htmx_with_the_list_alone(alice: Person, home: Property) -> None:
    home_of(alice.workspace, "Beck House")
    browser = alice.browser()
    fragment = browser.get("/properties?q=beck", headers=HTMX).text
    assert fragment.startswith('<div id="results">') and "Beck House" in fragment and "Alder" not in fragment
    assert "Nothing found" in browser.get("/properties?q=zzz", headers=HTMX).text
    assert "<html" in browser.get("/properties?q=beck").text


def test_pages_lead_to_each_other(alice: Person) -> None:
    for number in range(51):
        home_of(alice.workspace, f"House {number:02}")
    browser = alice.browser()
    first = browser.get("/properties").text
    assert "House 50" in first and "House 00" not in first
    link = first.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
    second = browser.get(link).text
    assert "House 00" in second and "House 50" not in second and 'rel="prev"' in second


def test_an_unknown_cursor_is_refused(alice: Person) -> None:
    assert alice.browser().get("/properties?after=x").status_code == 422


def test_a_new_property_redirects_to_its_gallery(alice: Person) -> None:
    answer = alice.browser().post("/properties/new", data=FORM)
    made = db.session.scalars(select(Property)).one()
    assert (answer.status_code, answer.location) == (303, f"/properties/{made.uuid}/photos")
    assert (made.name, made.bedrooms, made.bathrooms, made.sleeps) == ("Beck House", 3, 1.5, None)
    assert made.workspace_id == alice.workspace.id


def test_typed_text_stays_next_to_its_error(alice: Person, home: Property, subtests: pytest.Subtests) -> None:
    for path in ("/properties/new", "edit"):
        with subtests.test(path=path):
            path = f"/properties/{home.uuid}/edit" if path == "edit" else path
            answer = alice.browser().post(path, data={**FORM, "name": " ", "sleeps": "many", "address": "<b>&"})
            assert answer.status_code == 422
            assert answer.text.count('aria-invalid="true"') == 2
            assert "A property needs a name." in answer.text and 'value="many"' in answer.text
            assert 'value="&lt;b&gt;&amp;"' in answer.text
            assert [p.name for p in db.session.scalars(select(Property))] == ["Alder Cottage"]


def test_details_are_changed(alice: Person, home: Property) -> None:
    browser = alice.browser()
    page = browser.get(f"/properties/{home.uuid}/edit").text
    assert 'value="Alder Cottage"' in page and 'value="2"' in page
    answer = browser.post(f"/properties/{home.uuid}/edit", data=FORM)
    assert answer.status_code == 303
    assert (home.name, home.sleeps) == ("Beck House", None)


def test_deleting_asks_first_and_says_what_is_lost(alice: Person, home: Property, buckets: Buckets) -> None:
    photo_in(home)
    browser = alice.browser()
    page = browser.get(f"/properties/{home.uuid}/delete").text
    assert "1 photo" in page and "Alder Cottage" in page
    assert buckets.listing()
    assert browser.post(f"/properties/{home.uuid}/delete").location == "/properties"
    assert db.session.scalar(select(Property)) is None
    assert buckets.listing() == set()


def test_an_editor_may_do_all_of_this(bob: Person) -> None:
    browser = bob.browser()
    location = browser.post("/properties/new", data=FORM).location
    path = location.removesuffix("/photos")
    assert browser.get(f"{path}/edit").status_code == 200
    assert browser.post(f"{path}/delete").status_code == 303


def test_a_name_is_escaped(alice: Person) -> None:
    for name in ("<script>alert(1)</script>", '" hx-get="/evil', "\u202egnp.exe", "{{ 7 * 7 }}"):
        properties.create(alice.workspace, {"name": name})
    page = alice.browser().get("/properties").text
    assert "<script>alert" not in page and '" hx-get="/evil' not in page and ">49<" not in page
    assert "<bdi>\u202egnp.exe</bdi>" in page
