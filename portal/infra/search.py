"""A search in words: each must stand somewhere, whatever its case."""

from collections.abc import Sequence
from typing import Any, TypeVarTuple

from sqlalchemy import Select, false, or_

from portal.db import NO_UUID, as_uuid, is_storable

MAX_WORDS = 8

Columns = TypeVarTuple("Columns")


def matching(found: Select[*Columns], search: str, texts: Sequence[Any], ids: Sequence[Any] = ()) -> Select[*Columns]:
    """Keep rows where each word stands in one of the texts; a public id finds its row whatever stands there.

    Words past MAX_WORDS are overlooked. What no database can keep is found nowhere.
    """
    if not is_storable(search):
        return found.where(false())
    uuid = as_uuid(search.strip()) if ids else NO_UUID
    if uuid != NO_UUID:
        return found.where(or_(*(column == uuid for column in ids)))
    for word in search.split()[:MAX_WORDS]:
        found = found.where(or_(*(text.icontains(word, autoescape=True) for text in texts)))
    return found
