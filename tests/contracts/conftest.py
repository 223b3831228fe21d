"""For the tests of the contracts only."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.serving import make_server

from portal.config import Settings
from portal.demo.pms.hostaway import FakeHostaway
from tests.contracts.image_cdn import ImageCdn
from tests.factories import Person
from tests.listings.conftest import pms

__all__ = ["pms"]


@pytest.fixture
def live(app: Flask, settings: Settings) -> Iterator[str]:
    """The app under a real threaded server that looks often whether it is to end; its address."""
    server = make_server("127.0.0.1", settings.port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield settings.public_url
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=30)


@pytest.fixture
def cdn(live: str, alice: Person, pms: FakeHostaway) -> ImageCdn:
    """Seed A's client: Alice, whose account of the PMS is connected and not synced yet. The Image CDN is off."""
    return ImageCdn(live, alice, pms)
