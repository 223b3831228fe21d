"""Errors of outgoing requests, coarse enough to reveal nothing about the network around the portal.

They contain no address, banner or text of a server. A name that doesn't exist and a name with a private address both
raise `blocked_address`, before any connection is made, so neither the code nor the timing tells them apart. Only public
addresses are reported as `unreachable`.
"""

from typing import Any

from portal.errors import Problem


class RequestRefused(Problem):
    """Final: another attempt would fail too.

    Codes for the URL itself: invalid_url, scheme, host, port; for what it led to: blocked_address, redirect,
    http_error, too_large, encoded, tls.
    """

    code = "refused"


class Unreachable(Problem):
    """Temporary: another attempt may succeed. Codes: unreachable, timeout, truncated, http_error (408, 425, 429, 5xx).

    `retry_after_s` is the server's Retry-After, if it sent one.
    """

    code = "unreachable"

    def __init__(
        self, message: str, *, code: str | None = None, details: Any = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message, code=code, details=details)
        self.retry_after_s = retry_after_s
