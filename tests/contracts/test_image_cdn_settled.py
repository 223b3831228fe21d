"""How the Image CDN contract's gaps are settled: keys, records and the switch (README, "Image CDN contract")."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import update

from portal.db import db, now
from portal.demo.pms.server import PmsReply
from portal.infra import jobs
from portal.listings import removal
from portal.listings.models import ListingImage
from portal.work import work
from tests import factories
from tests.buckets import collect_orphans
from tests.contracts.image_cdn import DISABLE, ENABLE, GALLERY, THUMBNAIL, ImageCdn, objects
from tests.factories import Person

SIZE = 1, 4  # one listing of four pictures


@pytest.fixture
def cdn(cdn: ImageCdn) -> ImageCdn:
    """The client, with the Image CDN on and everything copied."""
    cdn.switch(ENABLE)
    cdn.cycle()
    return cdn


def signed(cdn: ImageCdn, **query: str) -> None:
    """Have the PMS sign its URLs."""
    url_of = type(cdn.pms).url_of
    tail = "&".join(f"{name}={value}" for name, value in query.items())
    cdn.pms.url_of = lambda picture: f"{url_of(cdn.pms, picture)}?{tail}"  # type: ignore[method-assign]


def test_the_extension_comes_from_the_bytes_and_is_jpg_for_jpeg(cdn: ImageCdn) -> None:
    names = ["1/a.jpeg", "1/a.PNG", "1/a", "1/a.php?file=b.gif"]
    for picture, name in zip(cdn.pms.catalogue.listings[1].pictures, names, strict=True):
        picture.name = name
    cdn.pms.fail_next(4, PmsReply(200, factories.jpeg(), {"Content-Type": "image/png"}), below="/pictures/1/a")
    cdn.cycle()
    copies = {name: cdn.image(number)["cdnURL"] for number, name in enumerate(names)}
    assert [name for name, url in copies.items() if not url.endswith(".jpg")] == []


def test_reordering_changes_positions_but_no_gallery_object(cdn: ImageCdn) -> None:
    gallery, keys, downloads = {image["id"]: image for image in cdn.images()}, objects(), cdn.downloads
    cdn.pms.catalogue.listings[1].pictures.reverse()
    cdn.cycle()
    after = {image["id"]: image for image in cdn.images()}
    for image in gallery.values():
        if image["imageType"] == GALLERY:
            moved = after[image["id"]]
            assert (moved["position"], moved["cdnURL"]) == (3 - image["position"], image["cdnURL"])
    assert cdn.pictures() == [cdn.image(n)["cdnURL"] for n in range(4)]
    assert cdn.downloads == downloads
    assert len(objects() - keys) == 1, "a new thumbnail, copied from the gallery's object"


def test_identical_pictures_of_a_listing_share_one_object(cdn: ImageCdn) -> None:
    one = factories.jpeg()
    cdn.pms.catalogue.add(3)
    for number in (1, 2):
        cdn.serve(number, one, listing=2)
    cdn.cycle()
    assert cdn.image(1, listing=2)["cdnURL"] == cdn.image(2, listing=2)["cdnURL"]
    assert len([key for key in objects() if f"/{cdn.listing(2)['id']}/" in key]) == 3


def test_gallery_positions_start_at_0(cdn: ImageCdn) -> None:
    positions = [image["position"] for image in cdn.images() if image["imageType"] == GALLERY]
    assert positions == [0, 1, 2, 3]
    assert [f"/gallery/{n}_" in url for n, url in enumerate(cdn.pictures())] == [True] * 4


def test_the_thumbnail_and_first_picture_are_two_records_from_one_download(cdn: ImageCdn) -> None:
    thumbnail, first = cdn.image(0, THUMBNAIL), cdn.image(0, GALLERY)
    assert thumbnail["id"] != first["id"]
    assert thumbnail["imageHash"] == first["imageHash"]
    assert thumbnail["cdnURL"] != first["cdnURL"]
    assert cdn.pms.count("/pictures/1/1.jpg") == 1


def test_a_superseded_record_is_used_only_for_its_own_url(cdn: ImageCdn) -> None:
    old, old_url = cdn.image(2), cdn.pms_url(2)
    picture = cdn.pms.catalogue.change_url(1, 2)
    picture.version += 1
    cdn.cycle()
    assert cdn.pictures()[2] == cdn.image(2)["cdnURL"] != old["cdnURL"]
    assert [image["originalURL"] for image in cdn.images()].count(old_url) == 1
    downloads = cdn.downloads
    cdn.pms.catalogue.served["1/3.jpg"] = picture
    picture.name = "1/3.jpg"
    cdn.cycle()
    assert cdn.image(2)["id"] == old["id"]
    assert cdn.pictures()[2] == old["cdnURL"]
    assert cdn.downloads == downloads, "its copy was kept"


def test_changed_bytes_behind_a_url_are_found_when_it_is_reverified(cdn: ImageCdn) -> None:
    before = cdn.image(1)
    picture = cdn.pms.catalogue.change_bytes(1, 1)
    cdn.cycle()
    assert cdn.image(1) == before, "a sync does not look at bytes"
    cdn.wait_for_its_time()
    after = cdn.image(1)
    assert after["imageHash"] == picture.md5 != before["imageHash"]
    assert after["cdnURL"].endswith(f"/gallery/1_{picture.md5}.jpg")
    assert cdn.pictures()[1] == after["cdnURL"]
    assert cdn.served(after["cdnURL"]) == picture.bytes()
    assert cdn.key(before["cdnURL"]) not in objects()
    assert cdn.pms.count("/pictures/", 304) == 3, "the others were verified by conditional requests"


def test_a_new_signature_does_not_make_a_new_picture(cdn: ImageCdn) -> None:
    signed(cdn, Expires="1", Signature="a", token="b", size="xl")
    cdn.cycle()
    records, downloads = cdn.images(), cdn.downloads
    signed(cdn, Expires="2", Signature="c", token="d", size="xl")
    cdn.cycle()
    assert cdn.downloads == downloads
    assert [image["id"] for image in cdn.images()] == [image["id"] for image in records]
    assert cdn.image(1)["originalURL"].endswith("?Expires=2&Signature=c&token=d&size=xl"), "verbatim, the newest"
    assert cdn.pictures() == [cdn.image(n)["cdnURL"] for n in range(4)]
    signed(cdn, Expires="3", Signature="e", token="f", size="m")
    cdn.cycle()
    assert cdn.downloads == downloads + 4, "another size is another picture"


def test_a_removed_picture_keeps_its_record_and_for_30_days_its_copy(cdn: ImageCdn) -> None:
    gone = cdn.image(3)
    cdn.pms.catalogue.listings[1].pictures.pop()
    cdn.cycle()
    assert len(cdn.pictures()) == 3
    assert gone["id"] in [image["id"] for image in cdn.images()]
    removal.drop_superseded_copies()
    assert cdn.key(gone["cdnURL"]) in objects()
    with work():
        since = {"superseded_at": now() - timedelta(days=31)}
        db.session.execute(update(ListingImage).where(ListingImage.superseded_at.is_not(None)).values(since))
    removal.drop_superseded_copies()
    assert cdn.key(gone["cdnURL"]) not in objects()
    (kept,) = [image for image in cdn.images() if image["id"] == gone["id"]]
    assert (kept["originalURL"], kept["cdnURL"]) == (gone["originalURL"], None)


def test_a_failed_recheck_keeps_the_copy(cdn: ImageCdn, caplog: pytest.LogCaptureFixture) -> None:
    before = cdn.image(1)
    cdn.fail(1, 404)
    cdn.wait_for_its_time()
    after = cdn.image(1)
    assert after["failureReason"] == "PMS image returns 404"
    assert (after["cdnURL"], after["lastCheckedAt"]) == (before["cdnURL"], before["lastCheckedAt"])
    assert cdn.pictures()[1] == before["cdnURL"]
    assert cdn.served(before["cdnURL"])
    assert f"copy failed: listing_image={before['id']}" in caplog.text


def test_switching_off_hides_the_copies_and_switching_on_shows_them_immediately(cdn: ImageCdn) -> None:
    before, downloads = cdn.listings(), cdn.downloads
    cdn.switch(DISABLE)
    assert cdn.host not in str(cdn.listings())
    assert cdn.served(before[0]["thumbnailURL"])
    cdn.switch(ENABLE)
    assert cdn.listings() == before, "before any sync"
    cdn.cycle()
    assert cdn.listings() == before
    assert cdn.downloads == downloads


def test_images_queued_when_the_cdn_is_switched_off_are_skipped(cdn: ImageCdn) -> None:
    cdn.pms.catalogue.add(2)
    cdn.sync()
    cdn.switch(DISABLE)
    downloads = cdn.downloads
    cdn.upload()
    waiting = cdn.images(2)
    assert {(image["cdnURL"], image["failureReason"]) for image in waiting} == {(None, None)}
    assert cdn.downloads == downloads
    jobs.connection().flushall()
    cdn.switch(ENABLE)
    assert jobs.queue(jobs.CDN).get_job_ids() == [jobs.image_cdn_upload().id]
    cdn.upload()
    assert cdn.pictures(2) == [cdn.image(n, listing=2)["cdnURL"] for n in range(2)]


def test_a_download_in_progress_when_the_cdn_is_switched_off_is_not_kept(cdn: ImageCdn) -> None:
    cdn.pms.catalogue.add(1)
    cdn.sync()
    stored, answer = objects(), cdn.pms.answer

    def answer_late(asked: Any) -> PmsReply:
        with cdn.person.app.app_context():  # the PMS's thread has no context
            cdn.switch(DISABLE)
        return answer(asked)

    cdn.pms.answer = answer_late  # type: ignore[method-assign]
    cdn.upload()
    assert cdn.pms.count("/pictures/2/", 200) == 1
    assert {(image["cdnURL"], image["failureReason"]) for image in cdn.images(2)} == {(None, None)}
    assert objects() == stored


def test_copies_do_not_expire(cdn: ImageCdn) -> None:
    stored, url = objects(), cdn.pictures()[1]
    collect_orphans()
    removal.drop_superseded_copies()
    removal.clear_leftovers()
    assert objects() == stored
    assert requests.head(url, timeout=30).headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_the_switch_applies_to_one_workspace(cdn: ImageCdn, charlie: Person) -> None:
    his = ImageCdn(cdn.host, charlie, cdn.pms)
    his.switch(DISABLE)
    his.cycle()
    assert his.host not in str(his.listings())
    assert cdn.pictures() == [cdn.image(n)["cdnURL"] for n in range(4)]
