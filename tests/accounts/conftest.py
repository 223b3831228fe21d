"""Fixtures for tests of accounts and of pages that ask for a password."""

from __future__ import annotations

import pytest

from portal.accounts import access


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords at the lowest cost; test_sign_in.py has the one test of the real cost."""
    monkeypatch.setattr(access, "HASH_METHOD", "scrypt:128:8:1")
