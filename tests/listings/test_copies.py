"""Copies: each picture is downloaded once, and stored under the contract's keys."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from portal.accounts.models import Workspace
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.infra import storage
from portal.listings.models import GALLERY, THUMBNAIL, IntegrationAccount, Listing
from portal.work import work
from tests.conftest import MATRIX
from tests.factories import Person
from tests.listings import stays
from tests.outside import Reply, outside
from tests.pixels.files import drawn

SIZE = 1, 2  # one listing of two pictures


def prefix(workspace: Workspace) -> str:
    (listing,) = stays.listings()
    return f"{workspace.uuid}/{listing.uuid}/"


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_thumbnail_that_is_the_first_picture_is_two_records_and_one_download(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    stays.synced(account)
    first, second = pms.catalogue.listings[1].pictures
    gallery = [image for image in stays.images() if image.type == GALLERY]
    (thumbnail,) = [image for image in stays.images() if image.type == THUMBNAIL]
    assert pms.count(f"/pictures/{first.name}") == pms.count(f"/pictures/{second.name}") == 1
    assert stays.objects() == {
        f"{prefix(alice.workspace)}thumbnail_{first.md5}.jpg": first.bytes(),
        f"{prefix(alice.workspace)}gallery/0_{first.md5}.jpg": first.bytes(),
        f"{prefix(alice.workspace)}gallery/1_{second.md5}.jpg": second.bytes(),
    }
    for image, picture, position in ((thumbnail, first, 0), (gallery[0], first, 0), (gallery[1], second, 1)):
        assert (image.original_url, image.position) == (pms.url_of(picture), position)
        assert (image.image_hash, image.failure_reason) == (picture.md5, None)
        assert (image.width, image.height, image.original_bytes) == (480, 320, len(picture.bytes()))
        assert image.last_checked_at and image.last_checked_at > now() - timedelta(minutes=1)


def test_equal_bytes_behind_two_urls_of_a_listing_are_stored_once_per_type(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    first, second = pms.catalogue.listings[1].pictures
    second.number = first.number
    stays.synced(account)
    gallery = [image for image in stays.images() if image.type == GALLERY]
    assert len({image.key for image in gallery}) == 1
    assert len(stays.objects()) == 2
    stays.synced(account)
    assert pms.count("/pictures/") == 2


def test_a_copy_is_served_with_its_type_and_404_once_its_row_is_gone(
    account: IntegrationAccount, alice: Person, pms: FakeHostaway
) -> None:
    data = drawn("PNG")
    with outside(lambda _: Reply(body=data)) as host:
        stays.showing(pms, f"{host.url}/1.jpg")
        stays.synced(account)
    keys = [image.key for image in stays.images()]
    client = alice.app.test_client()
    for key in keys:
        answer = client.get(f"/cdn/{key}")
        assert (answer.status_code, answer.content_type, answer.data) == (200, "image/png", data)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    with work():
        db.session.delete(db.session.scalars(select(Listing)).one())
    assert set(stays.objects()) == set(keys), "the objects are still there"
    assert [client.get(f"/cdn/{key}").status_code for key in keys] == [404, 404]


def test_no_database_connection_is_held_while_a_copy_is_served(
    account: IntegrationAccount, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays.synced(account)
    key, read = next(iter(stays.objects())), storage.Bucket.get
    db.session.rollback()
    held = db.engine.pool.checkedout
    before = held()
    monkeypatch.setattr(storage.Bucket, "get", lambda bucket, key: read(bucket, key) if held() == before else None)
    assert alice.app.test_client().get(f"/cdn/{key}").status_code == 200
