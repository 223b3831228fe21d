"""Hundreds of objects damaged at random on an installation that is being read: what can be derived is right again.

`pytest -m storm -n 0 -s tests/audit/test_damage_storm.py` prints the counts."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from PIL import Image as Pillow
from PIL import ImageStat
from sqlalchemy import select

from portal.accounts import access
from portal.config import settings
from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.images import edit
from portal.images.edit import AddedFile, Change
from portal.images.models import Image, Rendition
from portal.infra import storage
from portal.inventory import COPY, KINDS, LARGE, ORIGINAL, RENDITION, THUMB, StoredObject
from portal.listings import copies, integrations, sync
from tests import factories
from tests.conftest import BOTH
from tests.listings import stays

PHOTOS, DAMAGED = 300, 200
STEPS = (30, 65, 100, 135, 170, 205, 240)  # of each channel: 343 colours that no resampling confuses
COLOURS = [(red, green, blue) for red in STEPS for green in STEPS for blue in STEPS][:PHOTOS]
BUCKETS = {"uploads": storage.uploads, "cdn": storage.cdn}
Object = tuple[str, str]  # bucket role and key

pytestmark = [pytest.mark.storm, pytest.mark.timeout(900), pytest.mark.parametrize("database", BOTH, indirect=True)]


def picture(colour: tuple[int, int, int]) -> bytes:
    file = BytesIO()
    Pillow.new("RGB", (900, 600), colour).save(file, "JPEG", quality=90)
    return file.getvalue()


@pytest.fixture
def photos(app: Flask) -> list[Image]:
    """Photos in one colour each, all with both variants and 200 of them with a rendition."""
    workspace = access.create_workspace("Alma Stays", "pro")
    for first in range(0, PHOTOS, 20):
        home = factories.home_of(workspace, f"Home {first}")
        files = [AddedFile(lambda c=colour: picture(c), "a.jpg") for colour in COLOURS[first : first + 20]]
        edit.apply(home, Change(added=files))
    images = list(db.session.scalars(select(Image).order_by(Image.id)))
    client = app.test_client()
    for image in images[:DAMAGED]:
        assert client.get(f"/{image.key}?w=320", headers={"Accept": "image/webp"}).status_code == 200
    return images


@pytest.fixture
def pms(app: Flask, photos: list[Image]) -> Iterator[FakeHostaway]:
    """A PMS with 210 pictures, all copied."""
    workspace = access.find_workspace("Alma Stays")
    assert workspace
    with FakeHostaway(listings=10, pictures=20) as pms:
        pms.is_limited = False
        account = stays.connected(workspace, pms)
        integrations.sync_now(account)
        sync.run()
        while copies.run():
            pass
        db.session.rollback()
        yield pms


def stored() -> dict[Object, bytes]:
    """Every object that has a row, with its bytes."""
    rows = db.session.execute(select(StoredObject.bucket, StoredObject.key)).all()
    return {(role, key): BUCKETS[role].get(key) or b"" for role, key in rows}


def harm(rng: random.Random, target: Object, others: list[bytes]) -> str:
    role, key = target
    bucket, how = BUCKETS[role], rng.choice(["deleted", "cut", "garbage", "another"])
    data = bucket.get(key) or b""
    if how == "deleted":
        bucket.delete(key)
    else:
        wrong = {"cut": data[: len(data) // 2], "garbage": rng.randbytes(len(data)), "another": rng.choice(others)}[how]
        bucket.put(key, wrong if wrong != data else data[:-1], "image/webp")
    return how


def is_of_colour(data: bytes, colour: tuple[int, int, int]) -> bool:
    mean = ImageStat.Stat(Pillow.open(BytesIO(data)).convert("RGB")).mean
    return all(abs(got - wanted) < 8 for got, wanted in zip(mean, colour, strict=True))


@contextmanager
def readers(app: Flask, photos: dict[str, tuple[int, int, int]], before: dict[Object, bytes]) -> Iterator[list[Any]]:
    """Read photos and objects all the while; yields what went wrong. Each answer is the right photo, or a 503."""
    wrong: list[Any] = []
    over = threading.Event()
    answers = Counter[int]()

    def read(seed: int) -> None:
        rng, client = random.Random(seed), app.test_client()
        public, addresses = list(photos), [key for role, key in before if role == "cdn"]
        while not over.is_set():
            if rng.random() < 0.5:
                key = rng.choice(public)
                response = client.get(f"/{key}?w={rng.choice([320, 640, 2048])}", headers={"Accept": "image/webp"})
                is_right = response.status_code == 200 and is_of_colour(response.data, photos[key])
            else:
                key = rng.choice(addresses)
                response = client.get(f"/cdn/{key}")
                is_right = response.status_code == 200 and response.data == before["cdn", key]
            answers[response.status_code] += 1
            if not (is_right or response.status_code in (503, 308)):
                wrong.append((key, response.status_code, response.data[:40]))

    threads = [threading.Thread(target=read, args=(seed,), daemon=True) for seed in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
        print("answers to readers:", dict(answers))


def test_what_can_be_derived_is_right_again_and_the_rest_is_named(
    app: Flask, photos: list[Image], pms: FakeHostaway, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(19)
    before = stored()
    kind_of = {(row.bucket, row.key): row.kind for row in db.session.scalars(select(StoredObject))}
    of_kind = {kind: sorted(each for each in before if kind_of[each] == kind) for kind in KINDS}
    targets = {kind: rng.sample(each, min(DAMAGED, len(each))) for kind, each in of_kind.items()}
    assert {kind: len(each) for kind, each in targets.items()} == dict.fromkeys(KINDS, DAMAGED)
    colours = {image.key: colour for image, colour in zip(photos, COLOURS, strict=True)}
    owners = {image.original_key: (image.large_key, image.thumb_key) for image in photos}
    renditions = dict(db.session.execute(select(Rendition.key, Image.large_key).join(Image)).all())
    with readers(app, colours, before) as wrong:
        hows = Counter(
            (kind, harm(rng, each, [before[other] for other in of_kind[kind]]))
            for kind in KINDS
            for each in targets[kind]
        )
        result = app.test_cli_runner().invoke(args=["audit", "--repair", "--json"])
    assert result.exit_code == 1, result.output
    report = json.loads(result.stdout)
    named = {(one["bucket"], one["key"]) for one in report["findings"] if not one["repaired"]}
    lost_originals = {key for _, key in targets[ORIGINAL]}
    underivable = {("cdn", key) for lost in lost_originals for key in owners[lost]} & {
        each for kind in (LARGE, THUMB) for each in targets[kind]
    }
    underivable |= {
        ("cdn", key)
        for key, large in renditions.items()
        if ("cdn", large) in underivable and ("cdn", key) in targets[RENDITION]
    }
    allowed = underivable | set(targets[ORIGINAL])
    roles = {settings().s3_uploads_bucket: "uploads", settings().s3_cdn_bucket: "cdn"}
    named = {(roles.get(bucket, bucket), key) for bucket, key in named}
    db.session.rollback()
    after = {each: BUCKETS[each[0]].get(each[1]) for each in before}
    still_wrong = {each for each in before if after[each] != before[each]}
    with capsys.disabled():
        print(f"\n{dict(hows)}\nchecked {report['checked']}, found {len(report['findings'])}, left {report['left']}")
    assert wrong == []
    assert still_wrong <= allowed
    assert still_wrong == named
    assert {each for each in targets[COPY] if each in still_wrong} == set()
