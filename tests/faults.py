"""Real failures at the nth step: a bucket behind a misbehaving proxy, a database that refuses or hangs up."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from botocore.config import Config
from sqlalchemy import create_engine, event, text

from portal import config
from portal.db import db, writing
from portal.infra import s3_client, storage
from tests.servers import Handler, serving


@dataclass
class Request:
    """A request to the bucket, the nth since the proxy started; boto's retries count too."""

    number: int
    method: str
    path: str


Answer = int | str | bytes | None
"""A status or a body instead of the bucket's; "reset" before it hears, "lost" after; "hang"; None: as it says."""


@dataclass
class Front:
    """The proxy's behaviour; it can be changed at any time."""

    url: str
    answer: Callable[[Request], Answer] = lambda _: None
    asked: list[Request] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)


@contextmanager
def bucket_behind_a_proxy(read_timeout_s: float = 3) -> Iterator[Front]:
    """Route all S3 calls of this process through a proxy until the block ends.

    A call that hangs is given up after 3 × `read_timeout_s`."""
    front, guard = Front(""), threading.Lock()
    behind = urlsplit(config.settings().s3_endpoint_url or "").netloc

    class Proxy(Handler):
        def pass_on(self) -> None:
            body = self.body()
            with guard:
                request = Request(len(front.asked) + 1, self.command, self.path)
                front.asked.append(request)
                answer = front.answer(request)
            if isinstance(answer, int):
                return self.say(answer, {}, b"")
            if isinstance(answer, bytes):
                return self.say(200, {}, answer)
            if answer == "hang":
                front.closed.wait(60)
            if answer in ("hang", "reset"):
                return self.hang_up()
            said = self.ask(body)
            return self.hang_up() if answer == "lost" else self.say(*said)

        def ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            there = HTTPConnection(behind, timeout=30)
            there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    there.putheader(name, value)
            there.endheaders(body)
            response = there.getresponse()
            of_the_line = ("connection", "transfer-encoding")
            headers = {name: value for name, value in response.getheaders() if name.lower() not in of_the_line}
            said = response.status, headers, response.read()
            there.close()
            return said

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on

    with serving(Proxy) as url:
        front.url = url
        with patch.object(s3_client, "Config", lambda **usual: Config(**usual | {"read_timeout": read_timeout_s})):
            storage.connect(replace(config.settings(), s3_endpoint_url=url))
        try:
            yield front
        finally:
            front.closed.set()
            storage.connect(config.settings())


@contextmanager
def database_failing_at(step: int) -> Iterator[list[str]]:
    """Make the database refuse this process's nth statement or commit; yields those statements as they come.

    SQLite's authorizer denies it, once; PostgreSQL ends the session, as a failover does."""
    steps: list[str] = []

    def count(connection: Any, what: str) -> None:
        steps.append(what)
        raw = connection.connection.dbapi_connection
        if len(steps) != step:
            return
        if isinstance(raw, sqlite3.Connection):
            refusals = [sqlite3.SQLITE_DENY]
            raw.set_authorizer(lambda *_: refusals.pop() if refusals else sqlite3.SQLITE_OK)
        else:
            _end_session(raw)

    def statement(connection: Any, _: Any, sql: str, *__: Any) -> None:
        count(connection, sql)

    with _listening(statement, lambda connection: count(connection, "COMMIT")):
        yield steps


@contextmanager
def commit_without_an_answer() -> Iterator[None]:
    """Make PostgreSQL perform the commit of a change, and hang up before it answers."""

    def commit(connection: Any) -> None:
        if writing.get():
            raw = connection.connection.dbapi_connection
            raw.execute("COMMIT")
            raw.execute("BEGIN")
            _end_session(raw)

    with _listening(lambda *_: None, commit):
        yield


@contextmanager
def _listening(statement: Callable[..., None], commit: Callable[[Any], None]) -> Iterator[None]:
    event.listen(db.engine, "before_cursor_execute", statement)
    event.listen(db.engine, "commit", commit)
    try:
        yield
    finally:
        event.remove(db.engine, "before_cursor_execute", statement)
        event.remove(db.engine, "commit", commit)


def _end_session(raw: Any) -> None:
    other = create_engine(db.engine.url)
    with other.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": raw.info.backend_pid})
    other.dispose()
