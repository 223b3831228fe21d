"""Damaged objects are made again when somebody asks for them."""

from portal import inventory
from portal.audit.repair import repair
from portal.db import release
from portal.errors import StorageFailed
from portal.inventory import Damaged

RETRY_AFTER_S = 5


class Unavailable(StorageFailed):
    """A photo exists, but no file of it can be shown now."""

    def __init__(self) -> None:
        super().__init__("This photo's file is damaged, and is being repaired if it can be. Try again in a moment.")


def heal(damaged: Damaged) -> bool:
    """Make an object again; return whether it is worth looking it up again.

    What is known to be beyond repair is left to the audit. Raises TooMany, StorageFailed.
    """
    facts = inventory.find(damaged.bucket, damaged.key)
    release()
    if facts is None:
        return True  # changed or deleted meanwhile
    if facts.damage is not None:
        return False
    if repair(damaged.bucket, facts, damaged.damage).how is not None:
        return True
    facts = inventory.find(damaged.bucket, damaged.key)
    release()
    return facts is None or facts.replaced_by is not None  # another process was faster
