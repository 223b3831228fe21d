"""The circuit breaker of an S3 client. It sees each attempt, so it doesn't wait for a call to fail three times."""

from typing import Any

from botocore.exceptions import ConnectionError, HTTPClientError
from botocore.utils import determine_content_length

from portal.errors import StorageFailed, drop_tracebacks
from portal.infra.circuit_breaker import Attempt, Breaker

THRESHOLD, OPEN_FOR_S = 5, 5  # longer than a time-out, so that there is one probe at a time
LARGE_BYTES = 1024 * 1024  # to PUT more may take long in itself: eight times 20 MB at once exceed a time-out of 3 s
READINESS = "HeadBucket"  # of Bucket.answers() alone, which asks even while the breaker is open


class Unreachable(StorageFailed):
    """The buckets have not answered the last calls of this process. It says nothing about a single object."""

    def __init__(self) -> None:
        super().__init__("The photo storage did not answer. Nothing was changed.", details="circuit breaker open")


def guard(client: Any) -> Breaker:
    """Have a breaker guard all calls of a client; while it is open, they raise Unreachable."""
    breaker = Breaker((ConnectionError, HTTPClientError), Unreachable, threshold=THRESHOLD, open_for_s=OPEN_FOR_S)

    def begin(request: Any, operation_name: str, **_: Any) -> None:
        if operation_name != READINESS:
            is_large = (determine_content_length(request.body) or 0) > LARGE_BYTES
            request.context.update(attempt=breaker.begin(), is_large=is_large)

    def end(request_dict: Any, caught_exception: Exception | None, **_: Any) -> None:
        context = request_dict["context"]
        attempt: Attempt | None = context.get("attempt")
        if attempt is None:
            return
        if context["is_large"] and not attempt.is_probe and isinstance(caught_exception, HTTPClientError):
            return
        if isinstance(caught_exception, breaker.failures):
            breaker.failed(attempt)
            if breaker.is_open:  # don't wait for a retry
                drop_tracebacks(caught_exception)
                raise Unreachable from caught_exception
        else:
            breaker.close()

    client.meta.events.register_first("request-created.s3", begin)  # once for each attempt
    client.meta.events.register_first("needs-retry.s3", end)
    return breaker
