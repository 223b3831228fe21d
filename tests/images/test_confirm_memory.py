"""Confirm holds few large files in memory at the same time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from portal.db import db
from portal.errors import TooMany
from portal.images.models import Property
from portal.images.uploads import UploadedFile, verification
from tests import factories
from tests.faults import Request, bucket_behind_a_proxy
from tests.images.test_confirm import confirm


def test_few_large_files_are_in_memory_at_the_same_time(
    home: Property, at_once: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted from the request that reads a file to the one that stores it."""
    monkeypatch.setattr(verification, "LARGE_BYTES", 1000)
    uploads = [factories.uploaded(home, factories.jpeg()) for _ in range(3 * verification.MAX_LARGE)]
    held, most = 0, 0

    def count(request: Request) -> None:
        nonlocal held, most
        held += {"GET": 1, "PUT": -1}.get(request.method, 0)
        most = max(most, held)

    def one(property_id: int, upload: UploadedFile) -> None:
        confirm(db.session.get_one(Property, property_id), upload)

    with bucket_behind_a_proxy(read_timeout_s=30) as front:
        front.answer = count
        failures = at_once(one, *[(home.id, upload) for upload in uploads])
    assert failures == [None] * len(uploads)
    assert most == verification.MAX_LARGE


def test_a_large_file_is_refused_if_others_take_too_long_and_a_small_one_never(
    home: Property, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "WAIT_FOR_LARGE_S", 0)
    small, large = factories.uploaded(home, factories.jpeg(64, 48)), factories.uploaded(home, factories.jpeg())
    monkeypatch.setattr(verification, "LARGE_BYTES", small.size_bytes)
    with ExitStack() as others:
        for _ in range(verification.MAX_LARGE):
            others.enter_context(verification._room_for(large.size_bytes))
        with pytest.raises(TooMany):
            confirm(home, large)
        confirm(home, small)
    confirm(home, large)
