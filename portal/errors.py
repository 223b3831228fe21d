"""The errors of the domain. No HTTP in here: each API dialect chooses its own status codes."""

from collections.abc import Sequence
from typing import Any


class Problem(Exception):
    """An error that can be explained to the caller.

    `code` is stable and meant for programs, `message` is a sentence for people, `details` is plain data.
    """

    code = "problem"

    def __init__(self, message: str, *, code: str | None = None, details: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.details = details


class NotFound(Problem):
    """The resource doesn't exist or belongs to another workspace; no answer distinguishes the two."""

    code = "not_found"


class Invalid(Problem):
    """The input is not acceptable."""

    code = "invalid"


class OverQuota(Problem):
    """The plan's limit is reached; `details` names the limit."""

    code = "quota_exceeded"


class TooMany(Problem):
    """Too many requests, or too much in progress; `retry_after_s` says when to try again."""

    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after_s: int, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Conflict(Problem):
    """The resource was changed by somebody else; reload it, then try again after `retry_after_s`."""

    code = "conflict"

    def __init__(self, message: str, *, code: str | None = None, details: Any = None, retry_after_s: int = 1) -> None:
        super().__init__(message, code=code, details=details)
        self.retry_after_s = retry_after_s


class Forbidden(Problem):
    """The caller is authenticated but not allowed to do this."""

    code = "forbidden"


class Unauthorized(Problem):
    """The caller has no valid key or session."""

    code = "unauthorized"


class StorageFailed(Problem):
    """A bucket did not answer or refused a call; nothing was changed."""

    code = "storage_unavailable"


class DiskFull(StorageFailed):
    """The disk of the server or of its database is full; nothing was changed."""

    code = "disk_full"

    def __init__(self) -> None:
        super().__init__("The server disk is full. Nothing was changed. Try again once there is space.")


def demand_known(what: str, word: str | None, known: Sequence[str]) -> None:
    """Raise Invalid, with `what` as its code, for a word that is not in `known`. None is accepted."""
    if word is not None and word not in known:
        raise Invalid(f"There is no such {what}; use one of {', '.join(known)}.", code=what)


def drop_tracebacks(error: BaseException | None) -> None:
    """Let an error and its causes refer to no frame.

    Some of boto3's and urllib3's frames refer to the error in turn. Such a cycle would keep the request's body, up to
    20 MB, until the garbage collector runs.
    """
    while error:
        error.__traceback__ = None
        error = error.__context__
