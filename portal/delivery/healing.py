"""Damaged objects are made again when somebody asks for them."""

from portal import inventory
from portal.audit.repair import repair
from portal.db import release
from portal.errors import StorageFailed
from portal.installation import owns_buckets
from portal.inventory import Damaged


class Unavailable(StorageFailed):
    """A photo exists, but no file of it can be shown now."""

    def __init__(self) -> None:
        super().__init__("This photo's file is damaged, and is being repaired if it can be. Try again in a moment.")


def heal(damaged: Damaged) -> bool:
    """Make an object again; return whether it is worth looking it up again.

    What is known to be beyond repair is left to the audit, and buckets that are not ours to their owner: a photo that
    the owner has deleted must not come back. Raises TooMany, StorageFailed.
    """
    facts = inventory.find(damaged.bucket, damaged.key)
    release()
    if facts is None or facts.replaced_by:
        return True  # changed or deleted meanwhile
    if facts.damage is not None or not owns_buckets():
        return False
    if repair(damaged.bucket, facts, damaged.damage).how is not None:
        return True
    after = inventory.find(damaged.bucket, damaged.key)
    release()
    return after is None or after.replaced_by is not None  # made again, changed or deleted by another process
