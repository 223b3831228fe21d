"""Web server and workers refuse to start on a database of another release or key; the operator gets a sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import create_engine, text, update

from app import create_app
from portal import config, startup
from portal.config import Settings, WrongSetting, from_environment
from portal.db import db, now
from portal.demo.pms.hostaway import FakeHostaway
from portal.installation import Installation
from portal.listings import integrations, sync
from portal.migrations import EMPTY
from portal.startup import ANOTHER_KEY, StartupRefused
from portal.webhooks import delivery, endpoints
from portal.work import work
from tests.conftest import on_each
from tests.factories import Person
from tests.outside import outside
from tests.webhooks.sending import listening, ok, sent

ROOT = Path(__file__).parents[1]


@pytest.fixture
def another_key(app: Flask) -> Iterator[Callable[[], None]]:
    """Return a function that starts anew with another SECRET_KEY; afterwards the database knows none."""

    def start() -> None:
        db.session.expire_all()
        config.use(replace(config.settings(), secret_key="another secret, which the database doesn't know"))

    yield start
    db.session.rollback()
    with work():
        db.session.execute(update(Installation).values(key_fingerprint=None))


def test_a_database_without_tables_is_refused(settings: Settings, tmp_path: Path) -> None:
    app = create_app(replace(settings, database_url=f"sqlite:///{tmp_path / 'empty.db'}"))
    with app.app_context(), pytest.raises(StartupRefused) as refused:
        startup.demand_usable()
    assert str(refused.value) == EMPTY


@pytest.mark.parametrize(("revision", "what"), [("0001", "an earlier release"), ("9999", "a later release")])
def test_a_database_of_another_release_is_refused(app: Flask, revision: str, what: str) -> None:
    startup.demand_usable()
    own = db.session.scalar(text("SELECT version_num FROM alembic_version"))
    _stamp(revision)
    try:
        with pytest.raises(StartupRefused, match=f"of {what} .revision {revision}"):
            startup.demand_usable()
    finally:
        _stamp(str(own))


def _stamp(revision: str) -> None:
    db.session.rollback()
    with work():
        db.session.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})


def test_a_database_that_is_away_is_waited_for(settings: Settings) -> None:
    with create_app(replace(settings, database_url="postgresql://127.0.0.1:1/nothing")).app_context():
        startup.demand_usable()


@on_each
def test_another_key_is_refused_until_it_is_adopted(app: Flask, another_key: Callable[[], None]) -> None:
    startup.demand_usable()
    startup.demand_usable()
    another_key()
    with pytest.raises(StartupRefused) as refused:
        startup.demand_usable()
    assert str(refused.value) == ANOTHER_KEY
    assert app.test_cli_runner().invoke(args=["adopt-secret-key"]).exit_code == 0
    startup.demand_usable()


def test_postgresql_needs_a_key_that_all_machines_share(tmp_path: Path) -> None:
    env = {"DATA_DIR": str(tmp_path), "DATABASE_URL": "postgresql://db/frontage"}
    with pytest.raises(WrongSetting, match="SECRET_KEY must be set, to the same text on each machine"):
        from_environment(env)
    (tmp_path / "secret_key").write_text("the key so far")
    with pytest.raises(WrongSetting, match=str(tmp_path / "secret_key")):
        from_environment(env)


def test_a_delivery_waits_for_the_key(alice: Person, another_key: Callable[[], None]) -> None:
    own = config.settings()
    with outside(ok) as receiver:
        endpoints.send_test(listening(alice, receiver.url))
        another_key()
        delivery.run()
        (waiting,) = sent()
        assert (waiting.state, waiting.attempts, receiver.seen) == ("pending", 0, [])
        assert "Waiting for the SECRET_KEY" in waiting.failure
        config.use(own)
        with work():
            waiting.next_at = now()
        delivery.run()
    assert [one.state for one in sent()] == ["delivered"]


def test_a_sync_waits_for_the_key(alice: Person, another_key: Callable[[], None]) -> None:
    own = config.settings()
    with FakeHostaway(listings=1) as pms:
        account = integrations.connect(alice.workspace, "hostaway", pms.credentials)
        another_key()
        sync.run()
        db.session.refresh(account)
        assert "Waiting for the SECRET_KEY" in (account.error or "")
        assert (account.failures, account.synced_at) == (0, None)
        config.use(own)
        with work():
            account.next_at = now()
        sync.run()
        db.session.refresh(account)
    assert (account.error, account.synced_at is not None) == (None, True)


@pytest.mark.slow
def test_of_concurrent_upgrades_of_an_empty_postgresql_all_but_one_wait(postgres_url: str, tmp_path: Path) -> None:
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS fresh"))
        connection.execute(text("CREATE DATABASE fresh"))
        url = engine.url.set(database="fresh").render_as_string(hide_password=False)
        env = {"DATABASE_URL": url, "DATA_DIR": str(tmp_path), "SECRET_KEY": "x" * 32}
        command = [sys.executable, "-m", "flask", "--app", "app", "db", "upgrade"]
        upgrades = [subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True) for _ in range(3)]
        try:
            ends = [(upgrade.communicate(timeout=90)[1], upgrade.returncode) for upgrade in upgrades]
            assert [status for _, status in ends] == [0] * 3, ends
        finally:
            for upgrade in upgrades:
                upgrade.kill()
            connection.execute(text("DROP DATABASE IF EXISTS fresh"))
    engine.dispose()
