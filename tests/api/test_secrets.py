"""The credentials of a PMS account appear in no response, log, job or database."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from sqlalchemy import text

from portal import config
from portal.accounts import access
from portal.config import Settings
from portal.db import db
from portal.demo.first_run import FirstRun
from portal.demo.pms.hostaway import CLIENT_SECRET, FakeHostaway
from portal.demo.pms.server import PmsReply
from portal.embedded.process import Part
from portal.infra import jobs
from portal.infra.presign import Credentials
from portal.listings import sync
from portal.listings.models import IntegrationAccount
from portal.listings.sync import tasks
from tests.conftest import MATRIX
from tests.factories import Person
from tests.listings import stays

DEFINITIONS = "/api/v1/integration-definition"
ACCOUNTS = f"{DEFINITIONS}/hostaway/accounts"
LISTINGS = "/api/v1/listings"
WRONG = "a-secret-that-is-not-theirs"
OTHER = "a-secret-that-is-theirs-no-more"


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_credentials_and_tokens_appear_nowhere(
    alice: Person, pms: FakeHostaway, work_off: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = list(all_responses(alice, pms))
    tokens = [token[:60] for token in pms.tokens]  # even a part would be too much
    stored, in_redis = database_contents(), redis_contents()
    work_off()
    in_redis += redis_contents()
    logged = [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    for secret in (CLIENT_SECRET, WRONG, OTHER, *tokens):
        assert not [answer for answer in answers if secret in answer]
        assert not [record for record in logged if secret in record]
        assert secret not in caplog.text
        assert secret.encode() not in in_redis
        assert secret.encode() not in stored
    assert not [answer for answer in answers if "clientSecret" in answer and "details" not in answer]
    assert pms.url.encode() not in in_redis
    assert b"Heron House" in stored, "the search looks in the right place"
    assert b"image_cdn_upload" in in_redis


def test_repr_never_shows_a_secret(alice: Person, account: IntegrationAccount, settings: Settings) -> None:
    """Tracebacks, debuggers and careless log lines show values by their repr."""
    (task,) = tasks._claim(1)
    secret = "so-very-secret"
    held: list[Any] = [
        task,
        replace(settings, secret_key=secret, s3_secret_key=secret, database_url=secret, redis_url=secret),
        Credentials("AK", secret, secret),
        Part("Valkey", [], {"redis_url": secret}, env={"KEY": secret}),
        FirstRun(secret, secret, "home"),
        new := access.create_api_key(alice.workspace, "New"),
    ]
    assert task.credentials["clientSecret"] == CLIENT_SECRET
    for shown in map(repr, held):
        assert not [each for each in (secret, CLIENT_SECRET, new.secret) if each in shown]


def all_responses(alice: Person, pms: FakeHostaway) -> Iterator[str]:
    """Connect, sync, fail in each way there is and read everything; yield the responses."""

    def ask(method: str, path: str, **kwargs: Any) -> Any:
        answer = alice.api(method, path, **kwargs)
        texts.append(f"{answer.text}\n{answer.headers}")
        return answer.json

    texts: list[str] = []
    ask("PATCH", f"{DEFINITIONS}/hostaway/images-cdn", json={"enableImagesCDN": True})
    key = {"Idempotency-Key": "6d1c"}
    for _ in range(2):
        good = ask("POST", ACCOUNTS, json={"credentials": pms.credentials}, headers=key)
    wrong = ask("POST", ACCOUNTS, json={"credentials": {**pms.credentials, "clientSecret": WRONG}})
    for odd in (
        pms.credentials,
        {**pms.credentials, "baseUrl": 1},
        CLIENT_SECRET,
        [CLIENT_SECRET],
        {"a": CLIENT_SECRET * 999},
    ):
        ask("POST", ACCOUNTS, json={"credentials": odd})
    ask(
        "POST",
        f"{ACCOUNTS}",
        data=f'{{"credentials": {{"clientSecret": "{CLIENT_SECRET}',
        content_type="application/json",
    )
    told = PmsReply(500, f"{CLIENT_SECRET} {WRONG}".encode())
    failures = (
        told,
        PmsReply(200, told.body),
        PmsReply(403, told.body),
        PmsReply(429, told.body, {"Retry-After": "0"}),
    )
    for below, failing in product(("/v1/accessTokens", "/v1/listings"), failures):
        pms.fail_next(1, failing, below)
        stays.all_at_once()
        sync.run()
        ask("GET", ACCOUNTS)
    stays.all_at_once()
    sync.run()
    for account in (good, wrong):
        at = f"{ACCOUNTS}/{account['id']}"
        ask("POST", f"{at}/sync")
        ask("GET", at)
    assert "rejected these credentials" in ask("GET", f"{ACCOUNTS}/{wrong['id']}")["error"]
    at = f"{ACCOUNTS}/{wrong['id']}"
    for changed in (
        {"clientSecret": OTHER, "clientId": "6"},
        {"clientSecret": OTHER, "baseUrl": OTHER},
        {"baseUrl": "https://elsewhere.example/v1"},
        {"clientSecret": [OTHER]},
        pms.credentials,
    ):
        ask("PATCH", at, json={"credentials": changed})
        sync.run()
        ask("GET", at)
    ask("GET", DEFINITIONS)
    for listing in ask("GET", LISTINGS)["listings"]:
        ask("GET", f"{LISTINGS}/{listing['id']}")
        ask("GET", f"{LISTINGS}/{listing['id']}/images")
    yield from texts


def database_contents() -> bytes:
    """Return the database as a thief would have it: SQLite's files, PostgreSQL's rows."""
    db.session.rollback()
    if db.engine.dialect.name == "sqlite":
        return b"".join(path.read_bytes() for path in config.settings().data_dir.glob("test.db*"))
    with db.engine.connect() as connection:
        rows = [
            connection.execute(text(f'SELECT whole::text FROM "{table.name}" AS whole')).all()
            for table in db.metadata.sorted_tables
        ]
    return str(rows).encode()


def redis_contents() -> bytes:
    """Return all of Redis, with RQ's jobs unpacked."""
    redis, found = jobs.connection(), []
    for key in redis.scan_iter():
        read = {
            b"string": redis.get,
            b"hash": lambda key: [item for pair in redis.hgetall(key).items() for item in pair],
            b"list": lambda key: redis.lrange(key, 0, -1),
            b"set": redis.smembers,
            b"zset": lambda key: redis.zrange(key, 0, -1),
            b"stream": redis.xrange,
        }[redis.type(key)]
        value = read(key)
        found += [key, *(value if isinstance(value, list | set) else [value])]
    return b"\n".join(unpacked(item) for item in found)


def unpacked(item: Any) -> bytes:
    item = item if isinstance(item, bytes) else str(item).encode()
    with suppress(zlib.error):
        return zlib.decompress(item)
    return bytes(item)
