"""What can go wrong, in the trade's own words. No HTTP in here: the status belongs to the dialect."""

from collections.abc import Sequence
from typing import Any


class Problem(Exception):
    """Something a caller can be told in a sentence.

    `code` is a stable word for programs, `message` the sentence for people, `details` plain data.
    """

    code = "problem"

    def __init__(self, message: str, *, code: str | None = None, details: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.details = details


class NotFound(Problem):
    """It isn't there, or it belongs to another workspace: the two are told apart nowhere."""

    code = "not_found"


class Invalid(Problem):
    """What was sent can't be used as it is."""

    code = "invalid"


class OverQuota(Problem):
    """The plan has no room left; `details` says which number blocked it."""

    code = "quota_exceeded"


class TooMany(Problem):
    """Too much at once: try again later. `retry_after_s` says when."""

    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after_s: int, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Conflict(Problem):
    """Somebody else was first; look again, then try again."""

    code = "conflict"


class Forbidden(Problem):
    """Known, but not allowed to do this."""

    code = "forbidden"


class Unauthorized(Problem):
    """Nobody we know: no key or session, or one that is over."""

    code = "unauthorized"


class StorageFailed(Problem):
    """The bucket did not answer, or refused; nothing was changed."""

    code = "storage_unavailable"


def demand_known(what: str, word: str | None, known: Sequence[str]) -> None:
    """Raise Invalid for a word that is none of these; None is no word at all, and fine."""
    if word is not None and word not in known:
        raise Invalid(f"There is no such {what}; there are {', '.join(known)}.", code=what)
