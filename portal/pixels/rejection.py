"""The error for a file that is not accepted, its reasons, and the limits that all types share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from portal.errors import Invalid, Problem

MAX_PIXELS = 50_000_000  # measured: decoding so many takes 480 MB as PNG, 809 MB as WebP
MAX_SIDE_PX = 16_384
MAX_ICC_BYTES = 4 * 1024 * 1024  # the largest printing profiles in use have 2.7 MB
MAX_PARTS = 50_000  # chunks or boxes; a 10 MB PNG in 1 kB chunks has 10,000

TOO_SLOW, INTERRUPTED = "too_slow_to_open", "opening_interrupted"
TRANSIENT = (TOO_SLOW, INTERRUPTED)  # reasons that say more about a busy machine than about the file

DAMAGED = "The file is damaged and can't be opened."
TRUNCATED = "The file is incomplete: its end is missing."


class RejectedFile(Invalid):
    """A file is not accepted. `code` is the reason, `message` a sentence for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message, code=reason)

    def __reduce__(self) -> tuple[type["RejectedFile"], tuple[str, str]]:
        return RejectedFile, (self.code, self.message)  # for pickle: it is returned from a child process


def damaged() -> RejectedFile:
    return RejectedFile("damaged", DAMAGED)


def truncated() -> RejectedFile:
    return RejectedFile("truncated", TRUNCATED)


def too_many_pixels() -> RejectedFile:
    limit = f"{MAX_PIXELS // 1_000_000} megapixels or {MAX_SIDE_PX:,} pixels per side"
    return RejectedFile("too_many_pixels", f"The picture has more than {limit}.")


def too_many_parts() -> RejectedFile:
    return RejectedFile("too_many_parts", "The file has too many parts to be opened safely.")


def too_large_to_open() -> RejectedFile:
    return RejectedFile("too_large_to_open", "Opening the picture takes more memory than allowed.")


def too_slow_to_open() -> RejectedFile:
    return RejectedFile(TOO_SLOW, "Opening the picture takes longer than allowed.")


def interrupted() -> RejectedFile:
    return RejectedFile(INTERRUPTED, "Opening the picture was interrupted. Try again in a moment.")


def is_transient(problem: Problem) -> bool:
    """Return whether the problem is a rejection of a file that may be accepted another time."""
    return problem.code in TRANSIENT


@contextmanager
def decoder_errors_as_rejections() -> Iterator[None]:
    """Turn any exception of a decoder into RejectedFile, except MemoryError: see `memory_errors_as`.

    Measured: of 11,181 malformed files, 580 raised something other than OSError.
    """
    try:
        yield
    except (RejectedFile, MemoryError):
        raise
    except Exception as error:
        raise (truncated() if "truncated" in str(error) else damaged()) from error


@contextmanager
def memory_errors_as(rejection: Callable[[], RejectedFile]) -> Iterator[None]:
    """Turn MemoryError into a rejection: the file's fault in a process with limits, elsewhere the machine's."""
    try:
        yield
    except MemoryError as error:
        raise rejection() from error
