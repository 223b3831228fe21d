"""A PMS's rate limits, shared by all workers: real Redis, and the fake's count of the calls that arrived."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from redis import Redis

from portal import config
from portal.config import Settings
from portal.demo.pms.hostaway import FakeHostaway
from portal.demo.pms.server import Window
from portal.errors import TooMany
from portal.infra.redis_client import breaker
from portal.listings.providers import ALL
from portal.listings.providers.account import HttpAccount
from portal.listings.providers.base import Limit
from portal.ratelimit import outbound, storage
from portal.ratelimit.outbound import Pace
from portal.remote import Unreachable
from tests.listings.fakes.guesty import FakeGuesty
from tests.listings.fakes.known import account_of

HOSTAWAY = ALL["HOSTAWAY"]


def ask(account: HttpAccount, times: int = 1) -> None:
    for _ in range(times):
        account.get_object("/listings", {"limit": 1}, account.bearer())


def refused(call: Callable[[], None]) -> Unreachable:
    with pytest.raises(Unreachable) as raised:
        call()
    assert raised.value.code == "paced"
    return raised.value


@pytest.mark.parametrize("times", [pytest.param(3, marks=pytest.mark.slow), pytest.param(6, marks=pytest.mark.storm)])
def test_two_threads_with_separate_accounts_never_exceed_the_limit(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Nor do they wait so long that one of them misses its page's deadline."""
    monkeypatch.setattr(HOSTAWAY, "limits", (Limit(8, 1, "host"), Limit(10, 1, "account")))
    with FakeHostaway() as pms:
        pms._per_ip, pms._per_account = Window(8, 1), Window(10, 1)
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(config.in_this_app(ask), account_of(pms, deadline_s=20), times) for _ in range(4)]:
                done.result(timeout=60)
        assert pms.count("/v1/listings", 200) == 4 * times
        assert pms.count("/v1/listings", 429) == 0


def test_another_worker_sees_the_calls(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HOSTAWAY, "limits", (Limit(15, 600, "host"),))
    with FakeHostaway() as pms:
        ask(account_of(pms), 15)
        outbound.connect(settings)  # as another process does
        busy = refused(lambda: ask(account_of(pms)))
        assert busy.retry_after_s and 500 <= busy.retry_after_s <= 601
        assert pms.count() == 15


def test_a_call_that_cannot_run_before_its_deadline_fails_immediately(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting as long as allowed would take longer than the test."""
    monkeypatch.setattr(HOSTAWAY, "limits", (Limit(1, 3600, "account"),))
    with FakeHostaway() as pms:
        ask(account_of(pms))
        refused(lambda: ask(account_of(pms, deadline_s=1800)))


def test_a_call_waits_for_the_limit_within_the_pages_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HOSTAWAY, "limits", (Limit(2, 1, "account"),))
    with FakeHostaway() as pms:
        pms._per_account = Window(2, 1)
        ask(account_of(pms), 3)
        assert (pms.count("/v1/listings", 200), pms.count("/v1/listings", 429)) == (3, 0)


def test_a_hosts_limit_is_shared_by_all_accounts_and_an_accounts_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHostaway() as pms:
        mine, other = account_of(pms, deadline_s=6), account_of(pms, deadline_s=6, clientId="another")
        monkeypatch.setattr(HOSTAWAY, "limits", (Limit(1, 60, "account"),))
        ask(mine)
        ask(other)
        refused(lambda: ask(mine))
        monkeypatch.setattr(HOSTAWAY, "limits", (Limit(1, 50, "host"),))
        ask(mine)
        refused(lambda: ask(other))


def test_the_same_account_connected_twice_shares_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HOSTAWAY, "limits", (Limit(1, 60, "account"),))
    with FakeHostaway() as pms:
        one = HttpAccount(HOSTAWAY, pms.credentials, account_of(pms).token)
        again = HttpAccount(HOSTAWAY, dict(reversed(pms.credentials.items())), one.token, deadline_s=6)
        ask(one)
        refused(lambda: ask(again))


def test_a_call_refused_by_one_limit_is_not_counted_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHostaway() as pms:
        monkeypatch.setattr(HOSTAWAY, "limits", (Limit(3, 60, "host"), Limit(1, 60, "account")))
        mine = account_of(pms, deadline_s=6)
        ask(mine)
        for _ in range(5):
            refused(lambda: ask(mine))
        ask(account_of(pms, deadline_s=6, clientId="another"))
        ask(account_of(pms, deadline_s=6, clientId="a third"))
        refused(lambda: ask(account_of(pms, deadline_s=6, clientId="a fourth")))


def test_concurrent_calls_refused_by_one_limit_are_not_counted_by_another() -> None:
    few, many = Pace(3, 60, "few"), Pace(50, 60, "many")

    def one(_: int) -> bool:
        try:
            outbound.wait([many, few], patience_s=0)
        except TooMany:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(config.in_this_app(one), range(20), timeout=60)) == 3
    for _ in range(50 - 3):
        outbound.wait([many], patience_s=0)


def test_signing_in_counts_as_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ALL["GUESTY"], "limits", (Limit(1, 60),))
    with FakeGuesty() as pms:
        account = HttpAccount(ALL["GUESTY"], pms.credentials, deadline_s=6)
        ALL["GUESTY"].sign_in(account)
        refused(lambda: ALL["GUESTY"].sign_in(account) and None)


def test_no_secret_is_stored_in_redis(ground: Redis) -> None:
    with FakeHostaway() as pms:
        ask(account_of(pms))
        keys = [key.decode() for key in ground.scan_iter("*")]
        assert len(keys) == 2
        assert not [text for text in pms.credentials.values() for key in keys if text in key]


@pytest.fixture
def hanging(ground: Redis) -> int:
    return int(ground.info("server")["process_id"])


def test_when_redis_hangs_one_call_waits_for_it_and_the_limit_holds_in_memory(
    hanging: int, ground: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scripts() -> int:
        ground.ping()
        return sum(stats["calls"] for name, stats in ground.info("commandstats").items() if "eval" in name)

    monkeypatch.setattr(HOSTAWAY, "limits", (Limit(4, 60, "host"), Limit(5, 60, "account")))
    monkeypatch.setattr(breaker, "open_for_s", 60)
    monkeypatch.setitem(storage.OPTIONS, "socket_timeout", 0.2)
    outbound.connect(settings)
    with FakeHostaway() as pms:
        account = account_of(pms)
        ask(account)
        os.kill(hanging, signal.SIGSTOP)
        try:
            ask(account)
        finally:
            os.kill(hanging, signal.SIGCONT)
        asked = scripts()
        ask(account, 3)
        refused(lambda: ask(account_of(pms, deadline_s=6)))
        assert scripts() == asked, "Redis is not asked again for a while"
    breaker.close()


def test_without_redis_the_limit_holds_in_memory(settings: Settings) -> None:
    for url in (None, "redis://127.0.0.1:1", "unix:///nowhere.sock"):
        outbound.connect(replace(settings, redis_url=url))
        paces = [Pace(3, 60, f"test {url}")]
        for _ in range(3):
            outbound.wait(paces, patience_s=0)
        with pytest.raises(TooMany) as raised:
            outbound.wait(paces, patience_s=1)
        assert 40 <= raised.value.retry_after_s <= 61
