"""post: how webhooks are sent."""

from __future__ import annotations

import pytest

from portal.remote import RequestRefused, Unreachable, post
from tests.remote.conftest import Script, Serve
from tests.remote.test_fetch import answer
from tests.remote.test_hostile_servers import drip, flood


def test_a_body_is_posted_and_the_answer_comes_back(serve: Serve) -> None:
    server = serve(answer(202, b"thanks"))
    said = post(server.url + "hook", b'{"a": 1}', {"Content-Type": "application/json", "webhook-id": "msg_1"})
    assert (said.status, said.body, said.retry_after_s) == (202, b"thanks", None)
    head = server.heads[0].decode()
    assert head.startswith("POST /hook HTTP/1.1\r\n") and head.endswith('\r\n\r\n{"a": 1}')
    assert "webhook-id: msg_1\r\n" in head and "Content-Length: 8\r\n" in head


@pytest.mark.parametrize("status", [200, 204, 301, 302, 308, 400, 404, 410, 429, 500, 503])
def test_every_status_is_a_result_and_no_redirect_is_followed(serve: Serve, status: int) -> None:
    server = serve(answer(status, Location="/elsewhere", Retry_After="7"))
    said = post(server.url, b"{}", {})
    assert (said.status, said.retry_after_s, len(server.heads)) == (status, 7, 1)


@pytest.mark.parametrize(
    ("script", "most"),
    [
        (answer(200, b"x" * 100_000), 1000),
        (flood(b"HTTP/1.1 200 OK\r\n\r\n", b"x"), 1000),
        (drip(b"HTTP/1.1 200 OK\r\n\r\n"), 100),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", 5),
        (answer(200, b"packed", Content_Encoding="gzip"), 0),
    ],
    ids=["large", "endless", "dripping", "short", "packed"],
)
def test_the_status_counts_whatever_the_body_does(serve: Serve, script: Script | bytes, most: int) -> None:
    said = post(serve(script).url, b"{}", {}, deadline_s=1, max_response_bytes=1000)
    assert said.status == 200 and len(said.body) <= most


def test_a_silent_receiver_can_be_retried(serve: Serve) -> None:
    with pytest.raises(Unreachable) as unreachable:
        post(serve(b"").url, b"{}", {})
    assert unreachable.value.code == "unreachable"


def test_a_private_receiver_is_refused(nothing_allowed: None) -> None:
    with pytest.raises(RequestRefused) as refused:
        post("http://127.0.0.1/hook", b"{}", {})
    assert refused.value.code == "blocked_address"
