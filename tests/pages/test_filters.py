"""How pages format numbers, sizes and times."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from portal.pages import filters

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "now", lambda: NOW)


@pytest.mark.parametrize(
    ("say", "value", "said"),
    [
        (filters.ago, None, "never"),
        (filters.ago, NOW - timedelta(seconds=59), "just now"),
        (filters.ago, NOW - timedelta(minutes=59), "59 min ago"),
        (filters.ago, NOW - timedelta(hours=23), "23 h ago"),
        (filters.ago, NOW - timedelta(hours=47), "yesterday"),
        (filters.ago, NOW - timedelta(days=6), "6 days ago"),
        (filters.ago, NOW - timedelta(days=7), "22 Nov"),
        (filters.ago, NOW - timedelta(days=400), "25 Oct 2025"),
        (filters.time_until, NOW, "now"),
        (filters.time_until, NOW + timedelta(seconds=40), "in 40 s"),
        (filters.time_until, NOW + timedelta(minutes=40), "in 40 min"),
        (filters.time_until, NOW + timedelta(hours=40), "in 40 h"),
        (filters.short_url, "https://cdn.example/a/hall.jpg?w=1", "hall.jpg"),
        (filters.short_url, "https://cdn.example/", "cdn.example"),
        (filters.short_url, "https://[nowhere/hall.jpg", "https://[nowh…e/hall.jpg"),
        (filters.without_decimals, 2.0, 2),
        (filters.without_decimals, "two", "two"),
        (filters.duration, timedelta(seconds=9.94), "9.9 s"),
        (filters.duration, timedelta(seconds=99), "99 s"),
        (filters.duration, timedelta(seconds=150), "2 min"),
        (filters.duration_ms, 999, "999 ms"),
        (filters.duration_ms, 1200, "1.2 s"),
        (filters.size, 1, "1 byte"),
        (filters.size, 999, "999 bytes"),
        (filters.size, 1_500_000, "1.5 MB"),
        (filters.size, 25 * 10**15, "25,000 TB"),
    ],
)
def test_values_are_formatted_for_people(say: Callable[[object], object], value: object, said: object) -> None:
    assert say(value) == said
