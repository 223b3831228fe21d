"""Which HTTP status a problem has at every entrance, and where one differs."""

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
    Problem: 500,  # of any other kind
}


def status_of(problem: Problem, differing: Mapping[type[Problem], int] | None = None) -> int:
    """Return the status of a problem; `differing` holds those that an entrance has its own status for."""
    statuses = {**STATUSES, **(differing or {})}
    return next(statuses[kind] for kind in type(problem).__mro__ if kind in statuses)
