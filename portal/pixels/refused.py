"""Why a file is not opened: one error with a typed reason, and the limits that every type shares."""

from collections.abc import Iterator
from contextlib import contextmanager

from portal.errors import Invalid

MAX_PIXELS = 50_000_000  # reliability.md, decision 11
MAX_SIDE_PX = 16_384  # the same
MAX_ICC_BYTES = 4 * 1024 * 1024  # the largest press profiles in use have 2.7 MB
MAX_PARTS = 50_000  # chunks or boxes; a 10 MB PNG in 1 kB chunks has 10,000

TOO_SLOW = "too_slow_to_open"  # the reason that may be another one tomorrow, on a machine that is less busy

DAMAGED = "The file is damaged and can't be opened."
CUT_OFF = "The file ends too early: a part of it is missing."


class Refused(Invalid):
    """These bytes are not opened. `code` is the reason, `message` a sentence for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message, code=reason)

    def __reduce__(self) -> tuple[type["Refused"], tuple[str, str]]:
        return Refused, (self.code, self.message)  # it comes back from a child process by pickle


def damaged() -> Refused:
    return Refused("damaged", DAMAGED)


def truncated() -> Refused:
    return Refused("truncated", CUT_OFF)


def too_many_pixels() -> Refused:
    limit = f"{MAX_PIXELS // 1_000_000} megapixels or {MAX_SIDE_PX:,} pixels a side"
    return Refused("too_many_pixels", f"The picture has more than {limit}.")


def too_many_parts() -> Refused:
    return Refused("too_many_parts", "The file is cut into so many parts that it can't be opened safely.")


def too_large_to_open() -> Refused:
    return Refused("too_large_to_open", "The picture needs more memory to open than we allow.")


def too_slow_to_open() -> Refused:
    return Refused(TOO_SLOW, "The picture takes longer to open than we allow.")


@contextmanager
def refusing() -> Iterator[None]:
    """Turn whatever a decoder raises into `Refused`: malformed files raise far more than OSError."""
    try:
        yield
    except Refused:
        raise
    except MemoryError as error:
        raise too_large_to_open() from error
    except Exception as error:
        raise (truncated() if "truncated" in str(error) else damaged()) from error
