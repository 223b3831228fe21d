"""An account's calls to its PMS: deadlines, origins, and secrets that appear nowhere."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Iterator

import pytest

from portal.demo.pms.server import PmsReply
from portal.errors import Problem
from portal.listings.providers import ALL, account
from portal.listings.providers.account import HttpAccount
from portal.listings.providers.base import Token
from portal.remote import RequestRefused, Unreachable
from tests.listings.fakes.feed import FakeFeed
from tests.listings.fakes.known import TOKEN, Known, account_of
from tests.outside import Reply, outside
from tests.servers import free_port


def secrets_of(mine: HttpAccount) -> set[str]:
    names = {field.name for field in mine.provider.fields if field.is_secret}
    return {text for name, text in mine.credentials.items() if name in names} | {TOKEN}


def said_of(error: BaseException | None) -> Iterator[str]:
    """Everything that a log could print of an error and its causes."""
    while error:
        yield "".join(traceback.format_exception(error))
        yield f"{error!r} {error.args!r} {vars(error)!r}"
        error = error.__cause__ or error.__context__


def failures(mine: HttpAccount) -> list[PmsReply | int]:
    """What a PMS may answer that repeats what we sent."""
    echo = json.dumps({"sent": sorted(secrets_of(mine))})
    loud = {"X-Echo": " ".join(secrets_of(mine)), "Location": f"/?token={TOKEN}", "Retry-After": TOKEN}
    statuses = [
        PmsReply(status, echo.encode(), loud) for status in (301, 307, 400, 401, 403, 404, 409, 418, 429, 500, 503)
    ]
    return [
        *statuses,
        PmsReply(200, echo.encode()),
        PmsReply(200, echo[:-1].encode()),
        PmsReply(200, b"\xff" + echo.encode()),
    ]


@pytest.mark.usefixtures("unlimited")
def test_no_error_and_no_log_contains_a_secret(known: Known, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []
    with known.make() as pms:
        for said in failures(account_of(pms)):
            for call in ("pages", "sign_in"):
                pms.fail_next(5, said)
                mine = account_of(pms)
                with pytest.raises(Problem) as raised:
                    found = mine.provider.sign_in(mine) if call == "sign_in" else list(mine.provider.pages(mine, None))
                    raise Problem(f"{type(found)}")  # it needs no token
                texts += said_of(raised.value)
                pms._failures.clear()
        for closed in (f"http://127.0.0.1:{free_port()}/", "http://nowhere.invalid/", "http://10.1.2.3/", "http://[/"):
            mine = account_of(pms, baseUrl=closed, url=closed)
            with pytest.raises(Problem) as raised:
                list(mine.provider.pages(mine, None))
            texts += said_of(raised.value)
    secrets = secrets_of(mine)
    assert len(secrets) == 2
    for text in [*texts, caplog.text, repr(mine), repr(mine.token)]:
        assert not [secret for secret in secrets if secret in text], text


@pytest.mark.usefixtures("unlimited")
def test_a_secret_that_cannot_be_sent_is_refused_and_not_repeated(known: Known) -> None:
    with known.make() as pms:
        mine = account_of(pms)
        secret = next(field.name for field in mine.provider.fields if field.is_secret)
        for odd in ("two\r\nX-Header: lines", "ünicode", "nul\0", "tab\t"):
            mine = HttpAccount(
                mine.provider, pms.credentials | {secret: odd}, Token(odd, 0, 2e9) if mine.token else None
            )
            with pytest.raises(RequestRefused) as raised:
                list(mine.provider.pages(mine, None))
            assert raised.value.code == "credentials", repr(odd)
            assert not [text for text in said_of(raised.value) if odd in text or repr(odd)[1:-1] in text]
        assert pms.count() == 0


def test_a_page_has_a_deadline_for_all_of_its_calls() -> None:
    with outside(lambda seen: Reply(body=b"{}", after_s=0.3)) as slow:
        mine = HttpAccount(ALL["GENERIC"], {"url": slow.url}, deadline_s=0.8)
        with pytest.raises(Unreachable) as raised:
            for _ in range(9):
                mine.get(slow.url)
        assert raised.value.code == "timeout"
        assert len(slow.seen) <= 3


def test_a_call_has_no_more_time_than_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "CALL_DEADLINE_S", 300)
    with outside(lambda seen: Reply(after_s=300)) as slow:
        mine = HttpAccount(ALL["GENERIC"], {"url": slow.url}, deadline_s=0.5)
        with pytest.raises(Unreachable) as raised:
            mine.get(slow.url)
        assert raised.value.code == "timeout"


def test_each_page_has_the_whole_time() -> None:
    with FakeFeed(listings=2, per_page=1) as pms:
        mine = account_of(pms, deadline_s=0.6)
        for page in mine.provider.pages(mine, None):
            assert len(page.listings) == 1
            time.sleep(0.7)  # the caller takes longer than the whole deadline


def test_a_single_call_has_at_most_twenty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "CALL_DEADLINE_S", 0.2)
    with outside(lambda seen: Reply(after_s=300)) as slow:
        mine = HttpAccount(ALL["GENERIC"], {"url": slow.url})
        with pytest.raises(Unreachable) as raised:
            mine.get(slow.url)
        assert raised.value.code == "timeout"


def test_a_response_has_at_most_twenty_megabytes() -> None:
    largest = b"[" + b" " * (20 * 1024 * 1024 - 2) + b"]"
    for body, is_valid in ((largest, True), (largest + b" ", False)):
        with outside(lambda seen, body=body: Reply(body=body)) as host:
            mine = HttpAccount(ALL["GENERIC"], {"url": host.url})
            if is_valid:
                assert mine.get(host.url) == []
                continue
            with pytest.raises(RequestRefused) as raised:
                mine.get(host.url)
            assert raised.value.code == "too_large"


def test_a_truncated_response_can_be_retried() -> None:
    with outside(lambda seen: Reply(body=b"{}", headers={"Content-Length": "9"})) as host:
        mine = HttpAccount(ALL["GENERIC"], {"url": host.url}, deadline_s=0.5)
        with pytest.raises(Unreachable):
            mine.get(host.url)


def test_requests_are_json_below_the_base_url() -> None:
    with outside(lambda seen: Reply(body=b"{}")) as host:
        mine = HttpAccount(ALL["CLOUDBEDS"], {"apiKey": "k", "baseUrl": f"{host.url}/proxy/v1/"})
        mine.get("/getHotels", {"pageNumber": 1, "q": "a b&c"}, {"X-One": "1"})
        assert (host.seen[0].method, host.seen[0].path) == ("GET", "/proxy/v1/getHotels?pageNumber=1&q=a+b%26c")
        assert host.seen[0].headers["accept"] == "application/json"
        assert host.seen[0].headers["x-one"] == "1"


def test_the_default_address_is_the_providers() -> None:
    for provider in ALL.values():
        assert HttpAccount(provider, {}).base_url == provider.base_url
        assert provider.base_url.startswith("https://") or provider.key == "GENERIC"


@pytest.mark.usefixtures("unlimited")
def test_no_adapter_connects_to_a_private_address(known: Known, nothing_allowed: None) -> None:
    with known.make() as pms:
        mine = account_of(pms)
        with pytest.raises(RequestRefused) as raised:
            list(mine.provider.pages(mine, None))
        assert raised.value.code in ("blocked_address", "port")
        assert pms.count() == 0
