"""Deletion: removed from every list and bucket immediately; for a moment it can be undone."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from portal.accounts.plans import PLANS, Plan
from portal.db import db, now
from portal.errors import NotFound, OverQuota
from portal.images import deletion, gallery, imports, properties, retention, uploads
from portal.images.models import DeletedImage, Image, Property
from portal.images.variants import renditions
from portal.infra import storage
from portal.work import work
from tests import factories
from tests.buckets import Buckets, collect_orphans
from tests.factories import Person
from tests.images.test_order import cover, now_in


@pytest.fixture
def three(home: Property, work_off: Callable[[], int]) -> list[Image]:
    """Three finished images, one with a rendition."""
    arrived = [factories.uploaded(home, factories.jpeg(340, 250, colour=(50 * n, 99, 20))) for n in range(3)]
    images = [image for image, _ in uploads.confirm(home, arrived)]
    work_off()
    renditions.best(images[1], frozenset({"image/webp"}), 320)
    return images


def uuids(images: list[Image]) -> list[str]:
    return [str(image.uuid) for image in images]


def test_deleted_images_leave_rows_and_buckets_and_positions_close_up(
    home: Property, three: list[Image], buckets: Buckets
) -> None:
    a, _, c = uuids(three)
    assert deletion.delete(home, [uuids(three)[1]]).images == 1
    assert now_in(home) == [a, c]
    kept = {key for image in gallery.images(home) for key in (image.original_key, image.large_key, image.thumb_key)}
    assert {key for _, key in buckets.listing()} == kept


def test_deleting_the_cover_makes_the_next_image_the_cover(home: Property, three: list[Image]) -> None:
    a, b, _ = uuids(three)
    deletion.delete(home, [a])
    assert now_in(home)[0] == cover(home) == b


def test_ids_of_other_workspaces_are_silently_skipped(home: Property, three: list[Image], charlie: Person) -> None:
    elsewhere = factories.home_of(charlie.workspace)
    foreign = factories.photo_in(elsewhere)
    neighbour = factories.photo_in(factories.home_of(home.workspace, "Next door"))
    before = home.gallery_version
    assert deletion.delete(home, [*uuids([foreign, neighbour]), "nonsense"]).images == 0
    assert home.gallery_version == before
    assert gallery.images(elsewhere) == [foreign]


def test_undo_restores_positions_descriptions_and_cover(
    home: Property, three: list[Image], work_off: Callable[[], int], buckets: Buckets
) -> None:
    a, b, c = uuids(three)
    gallery.describe(home, a, "The pool")
    original = storage.uploads.get(three[0].original_key)
    gone = deletion.delete(home, [a, c], undoable=True)
    assert now_in(home) == [b]
    assert {name for name, _ in buckets.listing()} == {"frontage-uploads", "frontage-cdn"}
    assert len([key for name, key in buckets.listing() if name == "frontage-cdn"]) == 3, "only those of b are public"
    assert deletion.undelete(home, str(gone.undo_token)) == 2
    assert now_in(home) == [a, b, c]
    assert cover(home) == a
    back = gallery.find(home, a)
    assert (back.alt_text, storage.uploads.get(back.original_key)) == ("The pool", original)
    work_off()
    assert {image.variants for image in gallery.images(home)} == {"ready"}


def test_an_undo_works_once_and_only_for_its_property(home: Property, three: list[Image], charlie: Person) -> None:
    token = str(deletion.delete(home, uuids(three)[:1], undoable=True).undo_token)
    with pytest.raises(NotFound):
        deletion.undelete(factories.home_of(charlie.workspace), token)
    deletion.undelete(home, token)
    with pytest.raises(NotFound):
        deletion.undelete(home, token)


def test_an_undo_checks_the_quota_again(home: Property, three: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    token = str(deletion.delete(home, uuids(three)[:2], undoable=True).undo_token)
    monkeypatch.setitem(PLANS, "free", Plan("free", "Free", images_per_property=2, imports_per_month=9))
    with pytest.raises(OverQuota):
        deletion.undelete(home, token)


def test_the_original_is_deleted_once_undo_expires(home: Property, three: list[Image], buckets: Buckets) -> None:
    deletion.delete(home, uuids(three), undoable=True)
    assert collect_orphans() == [], "an undo may still want them"
    assert len(buckets.listing()) == 3
    with work():
        db.session.execute(update(DeletedImage).values(expires_at=now() - timedelta(seconds=1)))
    assert retention.purge_deleted_images() == 3
    assert buckets.listing() == set()


def test_actions_on_a_property_deleted_meanwhile_find_nothing(home: Property) -> None:
    announced = uploads.AnnouncedFile("hall.jpg", "image/jpeg", 9)
    with work():
        db.session.execute(delete(Property))
    for begin in (
        lambda: uploads.presign(home, [announced]),
        lambda: imports.start(home, ["https://photos.example/1.jpg"]),
        lambda: properties.update(home, {"name": "Gone"}),
        lambda: properties.delete(home),
    ):
        with pytest.raises(NotFound) as refused:
            begin()
        assert refused.value.code == "property_not_found"
