"""The HTTP client of adapters: calls an account's PMS within rate limits and deadlines, and never leaks secrets."""

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
from portal.remote import RequestRefused, Unreachable

MAX_RESPONSE_BYTES = 20 * 1024 * 1024
MAX_VALUES = 1_000_000  # in one response; 20 MB of `{},{},…` would take 450 MB of memory and seconds to parse
CALL_DEADLINE_S = 20
PAGE_DEADLINE_S = 60.0  # for all calls of one page
MIN_CALL_S = 5  # left for the call itself, after waiting for the rate limit
_UNAUTHORIZED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_TRANSIENT = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


def base_url_of(provider: Provider, credentials: Mapping[str, str]) -> str:
    """Return the base URL of an account's PMS: its own, or else the provider's."""
    return credentials.get("baseUrl") or credentials.get("url") or provider.base_url


class HttpAccount:
    """Calls the PMS of one account. Uses no database, so that it can run in a thread.

    `deadline_s` covers all calls of one page. Errors contain no credential, token, address or text of the PMS.
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
        """Restart the deadline for the next page."""
        self._ends_at = time.monotonic() + self._deadline_s

    def get(self, path: str, params: Params = None, headers: Headers = None) -> Any:
        """GET JSON from a path below the base URL, or from an absolute URL of the same origin.

        Raises RequestRefused (`credentials` if they are invalid; http_error, …) and Unreachable (bad_answer, paced, …).
        """
        url = self._url(path) + (f"?{urlencode(params)}" if params else "")
        with self._translating_refusals():
            fetched = remote.fetch(
                url,
                max_bytes=MAX_RESPONSE_BYTES,
                headers=self._sendable({"Accept": "application/json", **(headers or {})}),
                deadline_s=self._wait_for_rate_limit(),
            )
        return self._parsed(fetched.data)

    def get_object(self, path: str, params: Params = None, headers: Headers = None) -> dict[str, Any]:
        """GET a JSON object. Raises as `get`."""
        return self._object(self.get(path, params, headers))

    def find_object(self, path: str, params: Params = None, headers: Headers = None) -> dict[str, Any] | None:
        """GET a JSON object, or return None if it is gone: a listed item may have been deleted. Raises as `get`."""
        try:
            return self.get_object(path, params, headers)
        except RequestRefused as refused:
            if (refused.details or {}).get("status") in _GONE:
                return None
            raise

    def post_form(self, path: str, fields: Mapping[str, str]) -> dict[str, Any]:
        """POST a form, to get a token, and return the JSON object of the response. Raises as `get`."""
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        response = remote.post(
            self._url(path), urlencode(fields).encode(), headers, deadline_s=self._wait_for_rate_limit()
        )
        if response.status in (*_UNAUTHORIZED, HTTPStatus.BAD_REQUEST):  # OAuth: "invalid_client" may come with a 400
            raise self.invalid_credentials()
        if response.status in _TRANSIENT or response.status >= 500:
            raise Unreachable(
                f"The server answered {response.status}.",
                code="http_error",
                details={"status": response.status},
                retry_after_s=response.retry_after_s,
            )
        if response.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise RequestRefused(
                f"The server answered {response.status}.", code="http_error", details={"status": response.status}
            )
        return self._object(self._parsed(response.body))

    def bearer(self) -> dict[str, str]:
        """Return the Authorization header; wait if the token isn't valid yet, as some become valid a moment later."""
        if self.token is None:
            raise RuntimeError("no token: call sign_in() first")
        time.sleep(max(0.0, min(self.token.valid_from - time.time(), self._remaining_s())))
        return {"Authorization": f"Bearer {self.token.secret}"}

    def invalid_credentials(self) -> RequestRefused:
        """Return the error for invalid credentials."""
        return RequestRefused(f"{self.provider.name} rejected these credentials.", code="credentials")

    def bad_response(self, reason: str = "has an unexpected format") -> Unreachable:
        """Return the error for an unusable response; another attempt may succeed."""
        return Unreachable(f"{self.provider.name}'s response {reason}.", code="bad_answer")

    def _url(self, path: str) -> str:
        """Return the URL of a path or link. Raises Unreachable for a link to another origin than the account's own."""
        if path.startswith("/"):
            return self.base_url + path
        home = remote.check_url(self.base_url).origin
        with suppress(RequestRefused):
            if remote.check_url(path).origin == home:
                return path
        raise self.bad_response("links to another host")

    def _sendable(self, headers: dict[str, str]) -> dict[str, str]:
        """Return the headers. Raises RequestRefused for an invalid value, which the HTTP client's error would quote."""
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise self.invalid_credentials()
        return headers

    def _wait_for_rate_limit(self) -> float:
        """Wait until the rate limits allow a call; return how many seconds the call may take."""
        try:
            outbound.wait(self._paces(), patience_s=max(0.0, self._remaining_s() - MIN_CALL_S))
        except TooMany as busy:
            message = f"The rate limit of {self.provider.name} is used up for now."
            raise Unreachable(message, code="paced", retry_after_s=busy.retry_after_s) from None
        return min(CALL_DEADLINE_S, self._remaining_s())

    def _paces(self) -> list[Pace]:
        """Return the rate limits, shared wherever a PMS account is connected. Their Redis keys reveal no secret."""
        identity = json.dumps([self.provider.key, self.base_url, sorted(self.credentials.items())])
        keys = {
            "account": hashlib.sha256(identity.encode()).hexdigest(),
            "host": remote.check_url(self.base_url).host,
        }
        return [Pace(limit.calls, limit.seconds, keys[limit.per]) for limit in self.provider.limits]

    def _remaining_s(self) -> float:
        remaining_s = self._ends_at - time.monotonic()
        if remaining_s <= 0:
            raise Unreachable("The server took too long to answer.", code="timeout")
        return remaining_s

    @contextmanager
    def _translating_refusals(self) -> Iterator[None]:
        try:
            yield
        except RequestRefused as refused:
            if (refused.details or {}).get("status") in _UNAUTHORIZED:
                raise self.invalid_credentials() from None
            raise

    def _parsed(self, data: bytes) -> Any:
        if sum(data.count(sign) for sign in (b",", b"[", b"{")) > MAX_VALUES:
            raise self.bad_response("contains too many values")
        with suppress(ValueError, RecursionError):
            return json.loads(data)
        raise self.bad_response("is not valid JSON")  # outside the block: the parser's error holds the whole text

    def _object(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.bad_response()
        return value
