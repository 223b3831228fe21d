"""How pages format numbers, sizes and times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from portal.pages import words

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "now", lambda: NOW)


@pytest.mark.parametrize(
    ("say", "value", "said"),
    [
        (words.ago, None, "never"),
        (words.ago, NOW - timedelta(seconds=59), "just now"),
        (words.ago, NOW - timedelta(minutes=59), "59 min ago"),
        (words.ago, NOW - timedelta(hours=23), "23 h ago"),
        (words.ago, NOW - timedelta(hours=47), "yesterday"),
        (words.ago, NOW - timedelta(days=6), "6 days ago"),
        (words.ago, NOW - timedelta(days=7), "22 Nov"),
        (words.ago, NOW - timedelta(days=400), "25 Oct 2025"),
        (words.ahead, NOW, "now"),
        (words.ahead, NOW + timedelta(seconds=40), "in 40 s"),
        (words.ahead, NOW + timedelta(minutes=40), "in 40 min"),
        (words.ahead, NOW + timedelta(hours=40), "in 40 h"),
        (words.brief, "https://cdn.example/a/hall.jpg?w=1", "hall.jpg"),
        (words.brief, "https://cdn.example/", "cdn.example"),
        (words.brief, "https://[nowhere/hall.jpg", "https://[nowh…e/hall.jpg"),
        (words.plain, 2.0, 2),
        (words.plain, "two", "two"),
        (words.took, timedelta(seconds=9.94), "9.9 s"),
        (words.took, timedelta(seconds=99), "99 s"),
        (words.took, timedelta(seconds=150), "2 min"),
        (words.quick, 999, "999 ms"),
        (words.quick, 1200, "1.2 s"),
        (words.size, 1, "1 byte"),
        (words.size, 999, "999 bytes"),
        (words.size, 1_500_000, "1.5 MB"),
        (words.size, 25 * 10**15, "25,000 TB"),
    ],
)
def test_values_are_formatted_for_people(say: Callable[[object], object], value: object, said: object) -> None:
    assert say(value) == said
