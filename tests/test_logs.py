"""Log lines say when, how bad, where and for which request; an outage doesn't flood the log."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from io import StringIO

import pytest
from flask import Flask

from portal.errors import StorageFailed
from portal.infra import logs

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (WARNING|ERROR) \S+ \d+ (\S+) (.*)")


@pytest.fixture
def written() -> Iterator[StringIO]:
    """The stream of a logger that is configured as in production."""
    stream = StringIO()
    handler = logs.CountingHandler(stream)
    handler.setFormatter(logs.UtcFormatter("web\t" + logs.FORMAT))
    logger = logging.getLogger("tests.logs")
    logger.addHandler(handler)
    logger.propagate = False
    yield stream
    logger.removeHandler(handler)


log = logging.getLogger("tests.logs")


def fail(row: int, at: float | None = None) -> None:
    """Log an error about a row, from one place in the code."""
    record = log.makeRecord(log.name, logging.ERROR, __file__, 1, "failed: row=%d", (row,), None)
    record.created = at or record.created
    log.handle(record)


def test_a_line_has_time_level_host_process_and_message(written: StringIO) -> None:
    log.warning("bucket away: reason=%s", "timeout")
    line = LINE.fullmatch(written.getvalue().removeprefix("web\t").rstrip("\n"))
    assert line and line.groups() == ("WARNING", "-", "bucket away: reason=timeout")


def test_what_repeats_is_written_once_and_counted(written: StringIO) -> None:
    for _ in range(100):
        fail(1, at=1000)
    assert written.getvalue().count("failed: row=1") == 1
    fail(1, at=1000 + logs.WINDOW_S)
    assert "failed: row=1 (and 99 more like it)\n" in written.getvalue()
    assert written.getvalue().count("failed: row=1\n") == 2


def test_a_place_that_logs_different_messages_shows_a_few(written: StringIO) -> None:
    for row in range(100):
        fail(row, at=1000)
    assert written.getvalue().count("failed: row=") == logs.SHOWN_PER_WINDOW
    log.info("another place, much later")
    assert "(and 95 more like it)" in written.getvalue()


def test_counts_that_are_left_are_written_when_the_process_ends(written: StringIO) -> None:
    for _ in range(3):
        fail(1)
    log.handlers[0].close()
    assert "(and 2 more like it)" in written.getvalue()


def test_an_outage_is_one_line_and_a_bug_has_its_traceback(written: StringIO) -> None:
    for error in (StorageFailed("The photo storage did not answer."), ZeroDivisionError()):
        try:
            raise error
        except Exception:
            log.exception("step failed: %s", type(error).__name__)
    outage, bug, *traceback = written.getvalue().splitlines()
    assert outage.endswith("step failed: StorageFailed: reason=StorageFailed")
    assert bug.endswith("step failed: ZeroDivisionError") and traceback[-1] == "ZeroDivisionError"


def test_two_bugs_with_the_same_message_both_show_their_tracebacks(written: StringIO) -> None:
    def first() -> None:
        raise ValueError

    def second() -> None:
        raise ValueError

    for bug in (first, second, second):
        try:
            bug()
        except ValueError:
            log.exception("step failed")
    assert [written.getvalue().count(f"in {name}") for name in ("first", "second")] == [1, 1]


def test_what_is_only_counted_keeps_no_frame(written: StringIO) -> None:
    """Frames hold photos."""
    for _ in range(2):
        try:
            raise ValueError
        except ValueError:
            log.exception("step failed")
    (handler,) = [each for each in log.handlers if isinstance(each, logs.CountingHandler)]
    (window,) = handler._windows.values()
    assert window.last and window.last.exc_info is None
    assert "step failed" in written.getvalue()


@pytest.mark.parametrize(
    ("given", "is_kept"), [("abc-123.x", True), ("two\u2028lines", False), ("", False), ("x" * 65, False)]
)
def test_a_request_has_an_id_which_a_proxy_may_give(app: Flask, given: str, is_kept: bool) -> None:
    answer = app.test_client().get("/healthz", headers={"X-Request-Id": given})
    assert (answer.headers["X-Request-Id"] == given) is is_kept
    assert logs.REQUEST_ID.fullmatch(answer.headers["X-Request-Id"])


def test_the_lines_of_a_request_carry_its_id(app: Flask, written: StringIO) -> None:
    with app.test_request_context("/", headers={"X-Request-Id": "abc"}):
        app.preprocess_request()
        log.warning("slow")
    line = LINE.fullmatch(written.getvalue().removeprefix("web\t").rstrip("\n"))
    assert line and line[2] == "abc"
