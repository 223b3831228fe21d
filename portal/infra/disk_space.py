"""The space left on the disk of DATA_DIR, which the database, the embedded servers, the cache and forms share.

The disk counts as full while there is still some space: photos are refused first, so that rows can still be written
and photos deleted.
"""

import errno
import os
from pathlib import Path

from portal.config import Settings
from portal.errors import DiskFull

MIB = 1024 * 1024
RESERVE_BYTES = 256 * MIB  # for SQLite's WAL, a rewrite of Valkey's file, and what passed the check before
RESERVE_SHARE = 0.0125  # of the disk, with the embedded S3: once a minute, SeaweedFS stops writing if 1 % is left
FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of the disk, of this user's share, of a file


def free_bytes(settings: Settings) -> int:
    """Return how many bytes this user may still write."""
    found = _stat(settings.data_dir)
    return found.f_bavail * found.f_frsize


def spare_bytes(settings: Settings, *, reserves: float = 1) -> int:
    """Return how many bytes may be written until the disk counts as full; with `reserves`, until so many are left."""
    return _spare_bytes(settings.data_dir, RESERVE_SHARE if settings.has_embedded_s3 else 0, reserves)


def has_room_for_s3(directory: Path) -> bool:
    """Return whether the disk of the embedded S3's directory doesn't count as full."""
    return _spare_bytes(directory, RESERVE_SHARE) >= 0


def is_full(settings: Settings) -> bool:
    """Return whether the disk counts as full."""
    return spare_bytes(settings) < 0


def demand_room(settings: Settings) -> None:
    """Raise DiskFull if the disk counts as full."""
    if is_full(settings):
        raise DiskFull


def _spare_bytes(directory: Path, reserve_share: float, reserves: float = 1) -> int:
    found = _stat(directory)
    reserve_bytes = max(RESERVE_BYTES, reserve_share * found.f_blocks * found.f_frsize)
    return int(found.f_bavail * found.f_frsize - reserves * reserve_bytes)


def _stat(directory: Path) -> os.statvfs_result:
    try:
        return os.statvfs(directory)
    except FileNotFoundError:  # nothing has been written there yet
        return _stat(directory.parent)
