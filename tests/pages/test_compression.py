"""Pages and static files are compressed unless that could leak their content."""

from __future__ import annotations

import gzip

import pytest
from flask import Flask

from portal.images.models import Property
from portal.pages.assets import static_url
from tests.factories import Person

GZIP = {"Accept-Encoding": "gzip, br"}


def test_a_page_is_compressed(alice: Person, home: Property) -> None:
    browser, path = alice.browser(), f"/properties/{home.uuid}/photos"
    plain, packed = browser.get(path), browser.get(path, headers=GZIP)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.content_length == len(packed.data) < len(plain.data) / 3
    assert gzip.decompress(packed.data) == plain.data
    assert plain.vary.as_set() >= {"accept-encoding"}


def test_a_response_that_another_site_may_have_requested_is_not_compressed(
    alice: Person, subtests: pytest.Subtests
) -> None:
    for site in ("cross-site", "same-site", None):
        with subtests.test(site=site):
            browser = alice.browser()
            browser.environ_base.pop("HTTP_SEC_FETCH_SITE")
            answer = browser.get("/properties?q=guess", headers=GZIP | ({"Sec-Fetch-Site": site} if site else {}))
            assert "Content-Encoding" not in answer.headers
            assert answer.text.endswith("</html>")


def test_only_accepted_encodings_are_used(alice: Person, subtests: pytest.Subtests) -> None:
    for accepted in ("br", "gzip;q=0", "identity"):
        with subtests.test(accepted=accepted):
            answer = alice.browser().get("/properties", headers={"Accept-Encoding": accepted})
            assert "Content-Encoding" not in answer.headers


def test_each_encoding_of_a_file_has_its_etag(app: Flask, subtests: pytest.Subtests) -> None:
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
