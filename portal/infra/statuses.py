"""The HTTP status of each kind of problem, at every entrance unless it overrides one."""

from collections.abc import Mapping

from portal.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    OverQuota,
    Problem,
    StorageFailed,
    TooMany,
    Unauthorized,
)

STATUSES: Mapping[type[Problem], int] = {
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Invalid: 422,
    OverQuota: 422,
    TooMany: 429,
    StorageFailed: 503,
    Problem: 500,  # any other kind
}


STORAGE_RETRY_S = 5  # Retry-After while the storage or the database is unavailable


def status_of(problem: Problem, differing: Mapping[type[Problem], int] | None = None) -> int:
    """Return the HTTP status of a problem; `differing` holds an entrance's own statuses."""
    statuses = {**STATUSES, **(differing or {})}
    return next(statuses[kind] for kind in type(problem).__mro__ if kind in statuses)
