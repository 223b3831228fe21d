"""Apps whose servers are really down: a fixture for tests of the entrances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from app import create_app
from portal import config
from portal.db import db
from tests import factories


@pytest.fixture
def apart(app: Flask) -> Iterator[Callable[..., Flask]]:
    """Make a second app with other settings, for example on a server that a test stops or that doesn't exist."""
    ours, made = config.settings(), list[Flask]()

    def make(**others: Any) -> Flask:
        second = create_app(replace(ours, **others))
        second.test_client_class = factories.OwnContext
        made.append(second)
        return second

    yield make
    for second in made:
        with second.app_context():
            db.engine.dispose()
