"""Cursors: opaque strings that say where the next page of a list begins."""

import base64

from portal.db import is_id
from portal.errors import Invalid


def cursor(word: str, id: int) -> str:
    """Return a cursor for an id; `word` distinguishes it from the cursors of other lists."""
    return base64.urlsafe_b64encode(f"{word}:{id}".encode()).decode()


def id_in(cursor: str, word: str) -> int:
    """Return the id in a cursor of the list `word`. Raises Invalid for any other text."""
    try:
        prefix, _, number = base64.b64decode(cursor.encode(), b"-_", validate=True).decode().partition(":")
        if prefix == word and is_id(number):
            return int(number)
    except ValueError:
        pass
    raise Invalid("Invalid cursor.", code="cursor")
