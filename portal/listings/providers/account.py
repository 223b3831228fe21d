"""What an adapter talks through: one account's way to its PMS, paced, timed, and silent about its secrets."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from portal import remote
from portal.errors import TooMany
from portal.listings.providers.base import Headers, Params, Provider, Token
from portal.ratelimit import outbound
from portal.ratelimit.outbound import Pace
from portal.remote import Refused, Unreachable

MAX_ANSWER_BYTES = 20 * 1024 * 1024
MAX_VALUES = 1_000_000  # in one answer; 20 MB of `{},{},…` would become 450 MB in memory, and take seconds
CALL_DEADLINE_S = 20
PAGE_DEADLINE_S = 60.0  # for all calls that one page needs
LEAST_FOR_A_CALL_S = 5  # of a page's time is kept for the call itself while it waits for its turn
_NOT_GOOD = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


def base_url_of(provider: Provider, credentials: Mapping[str, str]) -> str:
    """Return where an account's PMS is: where it says, else where this provider usually is."""
    return credentials.get("baseUrl") or credentials.get("url") or provider.base_url


class HttpAccount:
    """Plain values and no database: it is used in threads. `deadline_s` is for all that one page needs.

    No error of it has a credential, a token, an address or a word of the PMS in it.
    """

    def __init__(
        self,
        provider: Provider,
        credentials: Mapping[str, str],
        token: Token | None = None,
        *,
        deadline_s: float = PAGE_DEADLINE_S,
    ) -> None:
        self.provider = provider
        self.credentials = credentials
        self.token = token
        self.base_url = base_url_of(provider, credentials).rstrip("/")
        self._deadline_s = deadline_s
        self.begin_page()

    def begin_page(self) -> None:
        """Give the next page the whole time."""
        self._ends_at = time.monotonic() + self._deadline_s

    def get(self, path: str, params: Params = None, headers: Headers = None) -> Any:
        """GET JSON from a path below the base URL, or from a whole address at the same origin.

        Raises Refused (`credentials`: they are not good; http_error, …) and Unreachable (bad_answer, paced, …).
        """
        url = self._url(path) + (f"?{urlencode(params)}" if params else "")
        with self._judged():
            fetched = remote.fetch(
                url,
                max_bytes=MAX_ANSWER_BYTES,
                headers=self._sendable({"Accept": "application/json", **(headers or {})}),
                deadline_s=self._turn_s(),
            )
        return self._parsed(fetched.data)

    def get_object(self, path: str, params: Params = None, headers: Headers = None) -> dict[str, Any]:
        """The same where the answer must be a JSON object."""
        return self._object(self.get(path, params, headers))

    def find_object(self, path: str, params: Params = None, headers: Headers = None) -> dict[str, Any] | None:
        """The same; None where it is gone: what a list named may be deleted by now."""
        try:
            return self.get_object(path, params, headers)
        except Refused as refused:
            if (refused.details or {}).get("status") in _GONE:
                return None
            raise

    def post_form(self, path: str, fields: Mapping[str, str]) -> dict[str, Any]:
        """POST a form, for a token, and return the JSON object that answers it. Raises as `get`."""
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        answer = remote.post(self._url(path), urlencode(fields).encode(), headers, deadline_s=self._turn_s())
        if answer.status in (*_NOT_GOOD, HTTPStatus.BAD_REQUEST):  # OAuth says "invalid_client" with a 400 too
            raise self.refusal()
        if answer.status in _PASSING or answer.status >= 500:
            raise Unreachable(
                f"The server answered {answer.status}.",
                code="http_error",
                details={"status": answer.status},
                retry_after_s=answer.retry_after_s,
            )
        if answer.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise Refused(f"The server answered {answer.status}.", code="http_error", details={"status": answer.status})
        return self._object(self._parsed(answer.body))

    def bearer(self) -> dict[str, str]:
        """Return the header that lets us in, when its time has come: some tokens are good only a moment later."""
        if self.token is None:
            raise RuntimeError("no token: sign_in() comes first")
        time.sleep(max(0.0, min(self.token.good_from - time.time(), self._left_s())))
        return {"Authorization": f"Bearer {self.token.secret}"}

    def refusal(self) -> Refused:
        """What is said when the credentials are not good."""
        return Refused(f"{self.provider.name} refuses these credentials.", code="credentials")

    def bad_answer(self, why: str = "is no answer to what we asked") -> Unreachable:
        """What is said of an answer that can't be used; it may be a good one another time."""
        return Unreachable(f"What {self.provider.name} says {why}.", code="bad_answer")

    def _url(self, path: str) -> str:
        """Never another origin than the account's own, wherever a link leads."""
        if path.startswith("/"):
            return self.base_url + path
        home = remote.check_url(self.base_url).origin
        with suppress(Refused):
            if remote.check_url(path).origin == home:
                return path
        raise self.bad_answer("leads to another host")

    def _sendable(self, headers: dict[str, str]) -> dict[str, str]:
        """What can't stand in a header is no credential; the HTTP client would say it aloud."""
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise self.refusal()
        return headers

    def _turn_s(self) -> float:
        """Wait until this account may make a call, and return the seconds that it may take."""
        try:
            outbound.wait(self._paces(), patience_s=max(0.0, self._left_s() - LEAST_FOR_A_CALL_S))
        except TooMany as busy:
            message = f"{self.provider.name} lets us make no more calls just now."
            raise Unreachable(message, code="paced", retry_after_s=busy.retry_after_s) from None
        return min(CALL_DEADLINE_S, self._left_s())

    def _paces(self) -> list[Pace]:
        """One PMS account shares its limits wherever it is connected. Its name in Redis tells no secret."""
        secrets = json.dumps([self.provider.key, self.base_url, sorted(self.credentials.items())])
        shared = {
            "account": hashlib.sha256(secrets.encode()).hexdigest(),
            "host": remote.check_url(self.base_url).host,
        }
        return [Pace(limit.calls, limit.seconds, shared[limit.per]) for limit in self.provider.limits]

    def _left_s(self) -> float:
        left_s = self._ends_at - time.monotonic()
        if left_s <= 0:
            raise Unreachable("It took too long to answer.", code="timeout")
        return left_s

    @contextmanager
    def _judged(self) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            if (refused.details or {}).get("status") in _NOT_GOOD:
                raise self.refusal() from None
            raise

    def _parsed(self, data: bytes) -> Any:
        if sum(data.count(sign) for sign in (b",", b"[", b"{")) > MAX_VALUES:
            raise self.bad_answer("has too many parts")
        with suppress(ValueError, RecursionError):
            return json.loads(data)
        raise self.bad_answer("is no JSON")  # out here: the parser's own error holds the whole text

    def _object(self, said: Any) -> dict[str, Any]:
        if not isinstance(said, dict):
            raise self.bad_answer()
        return said
