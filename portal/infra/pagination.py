"""Cursors: where a list goes on, spelled so that nobody counts on what stands in them."""

import base64

from portal.db import is_id
from portal.errors import Invalid


def cursor(word: str, id: int) -> str:
    """Return a cursor; `word` tells those of one list from others'."""
    return base64.urlsafe_b64encode(f"{word}:{id}".encode()).decode()


def id_in(cursor: str, word: str) -> int:
    """Return the id in a cursor. Raises Invalid for one that is none of ours."""
    try:
        said, _, number = base64.b64decode(cursor.encode(), b"-_", validate=True).decode().partition(":")
        if said == word and is_id(number):
            return int(number)
    except ValueError:
        pass
    raise Invalid("That cursor is not one of ours.", code="cursor")
