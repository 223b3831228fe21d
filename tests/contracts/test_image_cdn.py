"""Image CDN contract, "Introduction" and "How It Works", over HTTP.

Its other sections are in test_image_cdn_*.py.
"""

from __future__ import annotations

from collections.abc import Callable

import requests
from rq.job import Job
from rq.serializers import JSONSerializer

from portal.db import db
from portal.infra import jobs, storage
from portal.listings import copies
from portal.listings.models import IntegrationDefinition
from portal.work import work
from tests.contracts.image_cdn import DEFINITIONS, ENABLE, GALLERY, THUMBNAIL, ImageCdn, md5, objects


class TestIntroduction:
    def test_images_are_downloaded_uploaded_and_served(self, cdn: ImageCdn) -> None:
        cdn.switch(ENABLE)
        cdn.cycle()
        for listing in cdn.pms.catalogue.listings.values():
            for picture, url in zip(listing.pictures, cdn.pictures(listing.id), strict=True):
                assert cdn.served(url) == storage.cdn.get(cdn.key(url)) == picture.bytes()
                stored = storage.cdn.head(cdn.key(url))
                assert stored
                assert stored.type == requests.head(url, timeout=30).headers["Content-Type"] == "image/jpeg"

    def test_copies_are_served_while_the_pms_is_down(self, cdn: ImageCdn) -> None:
        cdn.switch(ENABLE)
        cdn.cycle()
        cdn.pms.fail_next(1000, 503)
        expected = [picture.bytes() for picture in cdn.pms.catalogue.listings[1].pictures]
        assert [cdn.served(url) for url in cdn.pictures()] == expected

    def test_every_sync_queues_what_is_new_or_changed(self, cdn: ImageCdn) -> None:
        cdn.switch(ENABLE)
        cdn.sync()
        assert cdn.downloads == 0, "queued"
        cdn.upload()
        assert cdn.downloads == 12
        cdn.pms.catalogue.add(2)
        cdn.pms.catalogue.change_url(1, 3)
        cdn.sync()
        assert cdn.downloads == 12
        cdn.upload()
        assert cdn.downloads == 12 + 2 + 1
        cdn.cycle()
        assert cdn.downloads == 15, "nothing is new, and nothing changed"

    def test_an_image_without_a_copy_keeps_its_pms_url(self, cdn: ImageCdn) -> None:
        cdn.switch(ENABLE)
        cdn.sync()
        assert cdn.pictures() == [cdn.pms_url(n) for n in range(4)]
        cdn.fail(2, 503)
        cdn.upload()
        assert [url == cdn.pms_url(n) for n, url in enumerate(cdn.pictures())] == [False, False, True, False]
        cdn.wait_for_its_time()
        assert not {cdn.pms_url(n) for n in range(4)} & set(cdn.pictures())

    def test_it_is_off_until_enabled_for_the_provider(self, cdn: ImageCdn) -> None:
        (definition,) = cdn.said("GET", DEFINITIONS)
        assert definition["enableImagesCDN"] is False
        cdn.cycle()
        assert (cdn.images(), cdn.downloads, objects()) == ([], 0, set())
        with work():  # another provider of the same workspace
            db.session.add(IntegrationDefinition(workspace_id=cdn.person.workspace.id, provider="OTHER"))
        cdn.switch(ENABLE)
        switched = {row.provider: row.enable_images_cdn for row in db.session.query(IntegrationDefinition)}
        assert switched == {"HOSTAWAY": True, "OTHER": False}


class TestHowItWorks:
    """The five steps of the flow."""

    def test_1_listing_sync_runs(self, cdn: ImageCdn) -> None:
        cdn.sync()
        for fake in cdn.pms.catalogue.listings.values():
            listing = cdn.listing(fake.id)
            urls = [cdn.pms.url_of(picture) for picture in fake.pictures]
            assert listing["name"] == fake.name
            assert listing["thumbnailURL"] == urls[0]
            assert [picture["url"] for picture in listing["pictures"]] == urls

    def test_2_image_detection(self, cdn: ImageCdn) -> None:
        cdn.sync()
        assert cdn.images() == [], "it is not enabled"
        cdn.switch(ENABLE)
        cdn.sync()
        stored = {image["id"]: image["originalURL"] for image in cdn.images()}
        assert set(stored.values()) == {cdn.pms_url(n) for n in range(4)}
        cdn.pms.catalogue.change_url(1, 2)
        cdn.sync()
        new = [image["originalURL"] for image in cdn.images() if image["id"] not in stored]
        assert new == [cdn.pms_url(2)]

    def test_3_upload_queueing(self, cdn: ImageCdn, work_off: Callable[[], int]) -> None:
        cdn.switch(ENABLE)
        jobs.connection().flushall()
        cdn.sync()
        task = Job.fetch(jobs.image_cdn_upload().id, connection=jobs.connection(), serializer=JSONSerializer)
        assert task.meta["type"] == "IMAGE_CDN_UPLOAD"
        work_off()
        copies.run()
        assert None not in {image["cdnURL"] for image in cdn.images()}

    def test_4_cdn_upload(self, cdn: ImageCdn) -> None:
        cdn.switch(ENABLE)
        cdn.serve(1, b"<html>no picture</html>")
        cdn.cycle()
        good, bad = cdn.image(0), cdn.image(1)
        data = cdn.pms.catalogue.listings[1].pictures[0].bytes()
        assert cdn.pms.count("/pictures/1/1.jpg") == 1
        assert good["imageHash"] == md5(data)
        assert cdn.served(good["cdnURL"]) == data
        assert (bad["imageHash"], bad["cdnURL"]) == (None, None)

    def test_5_url_replacement(self, cdn: ImageCdn) -> None:
        cdn.switch(ENABLE)
        cdn.cycle()
        for number in (1, 2, 3):
            copies = {(image["imageType"], image["originalURL"]): image["cdnURL"] for image in cdn.images(number)}
            listing = cdn.listing(number)
            urls = [cdn.pms_url(n, number) for n in range(4)]
            assert [picture["url"] for picture in listing["pictures"]] == [copies[GALLERY, url] for url in urls]
            assert listing["thumbnailURL"] == copies[THUMBNAIL, urls[0]]
