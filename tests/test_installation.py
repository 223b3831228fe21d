"""Which installation owns the buckets: a restored copy of the database deletes nothing of the live one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, select, text, update

import workers
from app import create_app
from portal import config, garbage, installation, orphans
from portal.accounts.models import Workspace
from portal.config import Settings
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.images import deletion, gallery, properties, retention
from portal.images.models import Property
from portal.infra import storage
from portal.installation import Installation
from portal.listings import removal
from portal.listings.models import IntegrationAccount
from portal.work import work
from tests import factories
from tests.buckets import Buckets, collect_orphans
from tests.conftest import MATRIX, on_both
from tests.factories import Person
from tests.faults import bucket_behind_a_proxy
from tests.listings import stays
from workers import sweep


@contextmanager
def restored(app: Flask, settings: Settings, directory: Path) -> Iterator[Flask]:
    """A copy of the current database at another address, with the same buckets."""
    installation.check()  # as at each start: the buckets carry the mark of the live one
    db.session.rollback()
    url = app.config["SQLALCHEMY_DATABASE_URI"]
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(db.engine.url.database or "")) as live:
            live.execute("VACUUM INTO ?", (str(directory / "copy.db"),))
        copy_url = f"sqlite:///{directory / 'copy.db'}"
    else:
        db.engine.dispose()
        _on_the_side(url, "DROP DATABASE IF EXISTS restored", f"CREATE DATABASE restored TEMPLATE {_name(db.engine)}")
        copy_url = db.engine.url.set(database="restored").render_as_string(hide_password=False)
    copy = create_app(replace(settings, database_url=copy_url))
    try:
        yield copy
    finally:
        with copy.app_context():
            db.session.remove()
            db.engine.dispose()
        config.use(replace(settings, database_url=url))
        if not url.startswith("sqlite"):
            _on_the_side(url, "DROP DATABASE restored")


def _name(engine: Engine) -> str:
    return f'"{engine.url.database}"'


def _on_the_side(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    side = create_engine(engine.url.set(database="template1"), isolation_level="AUTOCOMMIT")
    with side.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    side.dispose()


@pytest.fixture
def account(app: Flask, alice: Person) -> Iterator[IntegrationAccount]:
    """Alice's account with two copied listings."""
    with FakeHostaway(listings=2, pictures=2) as pms:
        pms.is_limited = False
        yield stays.synced(stays.connected(alice.workspace, pms))


def _everything_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a month pass for everything that expires."""
    later: Callable[[], datetime] = lambda: now() + timedelta(days=40)  # noqa: E731
    for module in (orphans, garbage, retention, removal):
        monkeypatch.setattr(module, "now", later)


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_a_restored_copy_deletes_nothing_of_the_live_installation(
    app: Flask,
    settings: Settings,
    home: Property,
    account: IntegrationAccount,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with work():
        db.session.execute(update(Workspace).values(plan_name="pro"))
    old = [factories.photo_in(home) for _ in range(3)]
    undoable = deletion.delete(home, [str(old[0].uuid)], undoable=True).undo_token
    factories.uploaded(home, factories.jpeg())
    with restored(app, settings, tmp_path) as copy:
        for _ in range(30):
            factories.photo_in(home)
        deletion.undelete(home, undoable or "")
        live = Buckets().listing()
        with copy.app_context(), monkeypatch.context() as later:
            there = db.session.scalars(select(Property)).one()
            deletion.delete(there, [str(image.uuid) for image in gallery.images(there)])
            properties.delete(there)
            removal.remove_account(db.session.scalars(select(IntegrationAccount)).one())
            removal.clear_leftovers()
            later.setattr(workers, "app", lambda: copy)
            _everything_is_over(later)
            sweep.sweep()
            sweep.tidy()
            sweep.collect_garbage()
            assert collect_orphans() == []
            assert installation.is_foreign(db.engine)
        assert Buckets().listing() == live
        assert not installation.is_foreign(db.engine)
        properties.delete(home)
        assert Buckets().listing() < live, "the live one deletes its own objects"


@on_both
def test_an_operator_can_make_the_copy_the_live_one(
    app: Flask, settings: Settings, home: Property, tmp_path: Path
) -> None:
    factories.photo_in(home)
    with restored(app, settings, tmp_path) as copy:
        with copy.app_context():
            assert not installation.owns_buckets()
            properties.delete(db.session.scalars(select(Property)).one())
            assert len(Buckets().listing()) == 1
            said = copy.test_cli_runner().invoke(args=["claim-buckets"])
            assert (said.exit_code, said.output) == (0, "Both buckets belong to this installation.\n")
            assert installation.owns_buckets()
            collect_orphans()
            assert not Buckets().listing()
        assert installation.check() is False, "the previous owner no longer deletes anything"
        installation.claim_buckets()


def test_a_dump_restored_in_place_counts_as_a_copy(app: Flask, settings: Settings, tmp_path: Path) -> None:
    """The live database at its usual address, but as it was yesterday."""
    with restored(app, settings, tmp_path) as copy, copy.app_context():
        installation.claim_buckets()
        assert installation.owns_buckets()
        file = Path(db.engine.url.database or "")
        with closing(sqlite3.connect(file)) as database:
            database.execute("VACUUM INTO ?", (str(tmp_path / "dump.db"),))
        db.engine.dispose()
        os.replace(tmp_path / "dump.db", file)
        assert installation.check() is False
    installation.claim_buckets()


def test_nothing_is_deleted_while_the_owner_of_the_bucket_is_unknown(app: Flask, home: Property) -> None:
    """Objects dropped meanwhile are deleted once it is known."""
    image = factories.photo_in(home)
    with work():
        db.session.execute(update(Installation).values(checked_at=None))
    with bucket_behind_a_proxy() as front:
        front.answer = lambda asked: 503 if storage.OWNER_KEY in asked.path else None
        deletion.delete(home, [str(image.uuid)])
        assert not [asked for asked in front.asked if asked.method == "POST"]
        asked_before = len(front.asked)
        assert not installation.owns_buckets()
        assert len(front.asked) == asked_before, "a bucket that doesn't answer is not asked each time"
    assert len(Buckets().listing()) == 1
    assert installation.check()
    assert collect_orphans() == [image.original_key]


def test_admins_are_told_when_the_buckets_belong_to_another_installation(alice: Person, bob: Person) -> None:
    """Nobody else is: they can't do anything about it."""
    with work():
        db.session.execute(update(Installation).values(owns_buckets=False, checked_at=now()))
    try:
        assert alice.app.test_client().get("/readyz").json["warnings"] == [installation.NOT_OURS]
        assert "claim-buckets" in alice.browser().get("/jobs").text
        assert "claim-buckets" not in bob.browser().get("/jobs").text
    finally:
        installation.check()
    assert alice.app.test_client().get("/readyz").json["warnings"] == []


def test_an_unclaimed_bucket_is_claimed(app: Flask) -> None:
    storage.cdn.delete(storage.OWNER_KEY)
    assert installation.check()
    mine = db.session.scalar(select(Installation.uuid))
    assert storage.cdn.get(storage.OWNER_KEY) == f"{mine}\n".encode()
