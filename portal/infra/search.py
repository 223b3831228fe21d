"""Case-insensitive word search in text columns."""

from collections.abc import Sequence
from typing import Any, TypeVarTuple

from sqlalchemy import Select, false, or_

from portal.db import NO_UUID, as_uuid, is_storable

MAX_WORDS = 8

Columns = TypeVarTuple("Columns")


def matching(found: Select[*Columns], search: str, texts: Sequence[Any], ids: Sequence[Any] = ()) -> Select[*Columns]:
    """Restrict a SELECT to rows that contain every word in one of the texts, or have the public id that was searched.

    Words beyond MAX_WORDS are ignored. A text that no database can store matches nothing.
    """
    if not is_storable(search):
        return found.where(false())
    uuid = as_uuid(search.strip()) if ids else NO_UUID
    if uuid != NO_UUID:
        return found.where(or_(*(column == uuid for column in ids)))
    for word in search.split()[:MAX_WORDS]:
        found = found.where(or_(*(text.icontains(word, autoescape=True) for text in texts)))
    return found
