"""Malformed files from elsewhere, through the real confirm and the real job: a photo, or a reason."""

from pathlib import Path

import pytest

from portal.db import db
from portal.errors import Invalid
from portal.images import deletion, uploads, variants
from portal.images.models import Property
from portal.images.uploads import MAX_SIZE_BYTES
from portal.infra import storage
from portal.work import work
from tests import factories
from tests.conftest import CORPUS, Buckets

TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".heic": "image/heic"}


def foreign_files() -> list[Path]:
    found = sorted((CORPUS / "pillow-malformed").glob("Tests_*")) + sorted((CORPUS / "pngsuite").glob("*_x*.png"))
    return [path for path in found if path.suffix.lower() in TYPES and 0 < path.stat().st_size <= MAX_SIZE_BYTES]


@pytest.mark.parametrize("stride", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_every_malformed_file_becomes_a_photo_or_a_typed_reason(home: Property, buckets: Buckets, stride: int) -> None:
    files = foreign_files()[::stride]
    if not files:
        pytest.skip(f"needs the corpus of foreign images: {CORPUS} is missing")
    reasons: dict[str, int] = {}
    for path in files:
        reason = _confirmed_and_made(home, path.read_bytes(), TYPES[path.suffix.lower()])
        reasons[reason] = reasons.get(reason, 0) + 1
    assert reasons["ready"] * stride > 20, "most of them are merely odd, and people have odd files"
    assert sum(count for reason, count in reasons.items() if reason != "ready") * stride >= 5, reasons
    assert all(key.endswith((".jpg", ".png", ".webp", ".heic")) for _, key in buckets.listing())


def _confirmed_and_made(home: Property, data: bytes, type: str) -> str:
    arrived = factories.uploaded(home, data, type=type)
    try:
        ((image, _),) = uploads.confirm(home, [arrived])
    except Invalid as refused:
        assert refused.code
        assert refused.message.endswith(".")
        upload = uploads.find_upload(home, arrived.key)
        assert upload
        with work() as w:
            w.drop(storage.uploads, upload.key)
            db.session.delete(upload)
        return refused.code
    variants.make(image.id)
    assert image.variants in ("ready", "failed")
    assert (image.failure_reason is None) == (image.variants == "ready")
    outcome = image.failure_reason or "ready"
    deletion.delete(home, [str(image.uuid)])
    return outcome
