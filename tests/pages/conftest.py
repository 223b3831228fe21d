"""Fixtures for tests of pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from portal.db import db
from tests.accounts.conftest import quick_passwords
from tests.apart import apart

__all__ = ["apart", "quick_passwords", "statements"]


@pytest.fixture
def statements(app: Flask) -> Callable[..., int]:
    """Call a function and count the database statements it executes."""

    def count(function: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
        said: list[str] = []

        def note(*seen: Any) -> None:
            said.append(seen[2])

        event.listen(db.engine, "before_cursor_execute", note)
        try:
            function(*args, **kwargs)
        finally:
            event.remove(db.engine, "before_cursor_execute", note)
        return len(said)

    return count
