"""Template filters that format numbers, sizes and times."""

from datetime import datetime, timedelta
from urllib.parse import urlsplit

from flask import Flask

from portal.db import now

MAX_NAME_LENGTH = 24
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


def init_app(app: Flask) -> None:
    for template_filter in (
        ago,
        date,
        duration,
        duration_ms,
        link_count,
        number,
        photo_count,
        short_url,
        size,
        time_until,
        without_decimals,
    ):
        app.add_template_filter(template_filter)


def ago(at: datetime | None) -> str:
    """Format how long ago a moment was, such as "5 min ago"; after a week, the date."""
    if at is None:
        return "never"
    seconds = int((now() - at).total_seconds())
    if seconds < MINUTE_S:
        return "just now"
    if seconds < HOUR_S:
        return f"{seconds // MINUTE_S} min ago"
    if seconds < DAY_S:
        return f"{seconds // HOUR_S} h ago"
    if seconds < 7 * DAY_S:
        days = seconds // DAY_S
        return "yesterday" if days == 1 else f"{days} days ago"
    return date(at)


def time_until(at: datetime) -> str:
    """Format how long until a moment, such as "in 5 min"; "now" if it has passed."""
    seconds = int((at - now()).total_seconds())
    if seconds < 1:
        return "now"
    if seconds < MINUTE_S:
        return f"in {seconds} s"
    if seconds < HOUR_S:
        return f"in {seconds // MINUTE_S} min"
    return f"in {seconds // HOUR_S} h"


def date(at: datetime) -> str:
    """Format a date, with the year unless it is the current one."""
    day = f"{at.day} {at:%b}"
    return day if at.year == now().year else f"{day} {at.year}"


def short_url(url: str) -> str:
    """Shorten a URL to its file name or its host."""
    try:
        parts = urlsplit(url)
        name = parts.path.rpartition("/")[2] or parts.netloc
    except ValueError:  # a PMS may send any text
        name = url
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 11]}…{name[-10:]}"


def number(value: int) -> str:
    """Format a number with thousands separators: 1,284."""
    return f"{value:,}"


def photo_count(number: int) -> str:
    return "1 photo" if number == 1 else f"{number:,} photos"


def link_count(number: int) -> str:
    return "1 link" if number == 1 else f"{number:,} links"


def without_decimals(number: object) -> object:
    """Format a whole number without decimals: 2, not 2.0. Other values are returned unchanged."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def duration(time: timedelta) -> str:
    """Format a duration: 0.4 s, 12 s, 3 min."""
    seconds = max(0.0, time.total_seconds())
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / MINUTE_S:.0f} min"


def duration_ms(took_ms: int) -> str:
    """Format the duration of a call: 84 ms, 1.2 s."""
    return f"{took_ms} ms" if took_ms < 1000 else duration(timedelta(milliseconds=took_ms))


def size(size_bytes: int) -> str:
    """Format a size in decimal units: 1 MB is 1,000,000 bytes."""
    if size_bytes < 1000:
        return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"
    amount = float(size_bytes)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.5 or unit == "TB":
            break
    return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:,.0f} {unit}"
