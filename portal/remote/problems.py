"""Why something out there can't be had: coarse words, in which nothing of the network around us shows.

No address, no banner and no text of a server stands in them. `blocked_address` is said of a name that
doesn't exist just as of one that leads to a private address, and it is said before anything is dialled:
neither the word nor the time it takes tells what there is behind the addresses that we don't go to.
Only of public addresses do we say that they don't answer (`unreachable`).
"""

from typing import Any

from portal.errors import Problem


class Refused(Problem):
    """Final: trying again brings the same. Codes:

    of the address itself: invalid_url, scheme, host, port;
    of what it led to: blocked_address, redirect, http_error, too_large, encoded, tls.
    """

    code = "refused"


class Unreachable(Problem):
    """It may work another time: unreachable, timeout, truncated, http_error (408, 425, 429, 5xx).

    `retry_after_s` is what the server asked for, if it did.
    """

    code = "unreachable"

    def __init__(
        self, message: str, *, code: str | None = None, details: Any = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message, code=code, details=details)
        self.retry_after_s = retry_after_s
