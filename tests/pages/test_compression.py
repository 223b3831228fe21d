"""Pages and static files travel compressed, where that tells nobody what is in them."""

from __future__ import annotations

import gzip

import pytest
from flask import Flask

from portal.images.models import Property
from portal.pages.assets import static_url
from tests.factories import Person

GZIP = {"Accept-Encoding": "gzip, br"}


def test_a_page_travels_compressed(alice: Person, home: Property) -> None:
    browser, path = alice.browser(), f"/properties/{home.uuid}/photos"
    plain, packed = browser.get(path), browser.get(path, headers=GZIP)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.content_length == len(packed.data) < len(plain.data) / 3
    assert gzip.decompress(packed.data) == plain.data
    assert plain.vary.as_set() >= {"accept-encoding"}


def test_what_another_site_may_have_asked_for_travels_as_it_is(alice: Person, subtests: pytest.Subtests) -> None:
    for site in ("cross-site", "same-site", None):
        with subtests.test(site=site):
            browser = alice.browser()
            browser.environ_base.pop("HTTP_SEC_FETCH_SITE")
            answer = browser.get("/properties?q=guess", headers=GZIP | ({"Sec-Fetch-Site": site} if site else {}))
            assert "Content-Encoding" not in answer.headers
            assert answer.text.endswith("</html>")


def test_nobody_gets_what_he_does_not_take(alice: Person, subtests: pytest.Subtests) -> None:
    for accepted in ("br", "gzip;q=0", "identity"):
        with subtests.test(accepted=accepted):
            answer = alice.browser().get("/properties", headers={"Accept-Encoding": accepted})
            assert "Content-Encoding" not in answer.headers


def test_both_forms_of_a_file_have_an_etag_of_their_own(app: Flask, subtests: pytest.Subtests) -> None:
    for name in ("css/app.css", "js/gallery.js", "vendor/htmx-4.0.1.min.js", "icons.svg"):
        with subtests.test(name=name):
            with app.test_request_context():
                url = static_url(name)
            client = app.test_client()
            plain, packed = client.get(url), client.get(url, headers=GZIP)
            assert gzip.decompress(packed.data) == plain.data
            assert plain.mimetype == packed.mimetype != "application/octet-stream"
            assert plain.headers["ETag"] != packed.headers["ETag"]
            assert packed.vary.as_set() == {"accept-encoding"}
            again = client.get(url, headers=GZIP | {"If-None-Match": packed.headers["ETag"]})
            assert (again.status_code, again.data) == (304, b"")
            assert client.get(url, headers=GZIP | {"If-None-Match": plain.headers["ETag"]}).status_code == 200
