"""Fixtures for tests of accounts and of pages that ask for a password."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from portal.accounts import access
from portal.accounts.models import IdempotencyRecord
from portal.db import db, now
from portal.work import work


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords at the lowest cost; test_sign_in.py has the one test of the real cost."""
    monkeypatch.setattr(access, "HASH_METHOD", "scrypt:128:8:1")


def grow_old(**columns: timedelta) -> None:
    """Move these times of every idempotency record this far into the past."""
    with work():
        for name, age in columns.items():
            db.session.execute(update(IdempotencyRecord).values({name: now() - age}))
