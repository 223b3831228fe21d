"""fetch: responses, and what the statuses mean. Real servers at 127.0.0.1."""

from __future__ import annotations

import socket
import ssl
import time
from email.utils import formatdate
from pathlib import Path

import pytest
import trustme

from portal.remote import RequestRefused, Unreachable, connection, fetch
from tests.remote.conftest import Serve


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def test_an_existing_file_is_fetched(serve: Serve) -> None:
    server = serve(answer(body=b"photo", Content_Type="image/JPEG; q=1", ETag='"1"', Last_Modified="Mon"))
    fetched = fetch(server.url + "a.jpg", max_bytes=5)
    assert (fetched.status, fetched.data, fetched.content_type) == (200, b"photo", "image/jpeg")
    assert (fetched.etag, fetched.last_modified, fetched.url) == ('"1"', "Mon", server.url + "a.jpg")
    head = server.heads[0].decode().split("\r\n")
    assert head[0] == "GET /a.jpg HTTP/1.1"
    assert {f"Host: 127.0.0.1:{server.port}", "Accept-Encoding: identity", "Connection: close"} <= set(head)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\npho\r\n2;x=y\r\nto\r\n0\r\nTrailer: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nphoto",
        b"HTTP/1.0 200 OK\r\nContent-Encoding: identity\r\n\r\nphoto",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nphoto and more",
    ],
    ids=["chunked", "until the end", "HTTP/1.0", "after 100 Continue"],
)
def test_bodies_may_be_framed_in_several_ways(serve: Serve, reply: bytes) -> None:
    assert fetch(serve(reply).url, max_bytes=5).data == b"photo"


def test_a_large_body_comes_whole(serve: Serve) -> None:
    body = bytes(range(256)) * 4096 * 8  # 8 MB
    assert fetch(serve(answer(body=body)).url, max_bytes=len(body)).data == body


def test_a_conditional_request_may_be_answered_with_not_modified(serve: Serve) -> None:
    server = serve(answer(304, ETag='"1"'))
    fetched = fetch(server.url, max_bytes=5, headers={"If-None-Match": '"1"'})
    assert (fetched.status, fetched.data, fetched.etag) == (304, b"", '"1"')
    assert b'If-None-Match: "1"' in server.heads[0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 201, 204, 206, 300, 304, 305, 999])
def test_a_final_status_is_refused(serve: Serve, status: int) -> None:
    with pytest.raises(RequestRefused) as refused:
        fetch(serve(answer(status, b"secret banner")).url, max_bytes=100)
    assert (refused.value.code, refused.value.details) == ("http_error", {"status": status})
    assert "banner" not in refused.value.message


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599])
def test_a_temporary_status_can_be_retried(serve: Serve, status: int) -> None:
    with pytest.raises(Unreachable) as unreachable:
        fetch(serve(answer(status, Retry_After="120")).url, max_bytes=100)
    assert (unreachable.value.code, unreachable.value.details) == ("http_error", {"status": status})
    assert unreachable.value.retry_after_s == 120


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("0", 0, 0),
        ("99999999999999999999", 86_400, 86_400),
        ("in 100 s", 50, 100),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
    ],
)
def test_retry_after_is_capped_at_a_day(serve: Serve, text: str, low: int, high: int) -> None:
    if text == "in 100 s":  # as a date, relative to the moment of the request
        text = formatdate(time.time() + 100, usegmt=True)
    with pytest.raises(Unreachable) as unreachable:
        fetch(serve(answer(503, Retry_After=text)).url, max_bytes=100)
    assert unreachable.value.retry_after_s is not None
    assert low <= unreachable.value.retry_after_s <= high


@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "²", "Mon, 99 Foo 2015 07:28:00 GMT", ""])
def test_an_invalid_retry_after_is_ignored(serve: Serve, text: str) -> None:
    with pytest.raises(Unreachable) as unreachable:
        fetch(serve(answer(503, Retry_After=text)).url, max_bytes=100)
    assert unreachable.value.retry_after_s is None


@pytest.mark.parametrize(
    ("status", "text", "low", "high"),
    [
        (429, "40", 40, 40),
        (429, "in 100 s", 50, 100),
        (429, "1445412480", 0, 0),  # in 2015
        (429, "9999999999", 86_400, 86_400),
        (429, "99999999999", None, None),
        (429, "soon", None, None),
        (429, "²", None, None),
        (429, "", None, None),
        (503, "40", None, None),
    ],
)
def test_a_429_may_say_when_its_limit_ends_instead(
    serve: Serve, status: int, text: str, low: int | None, high: int | None
) -> None:
    if text == "in 100 s":
        text = str(int(time.time()) + 100)
    with pytest.raises(Unreachable) as unreachable:
        fetch(serve(answer(status, X_RateLimit_Reset=text)).url, max_bytes=100)
    said = unreachable.value.retry_after_s
    assert said == low if low is None or high is None else said is not None and low <= said <= high


def test_retry_after_takes_precedence_over_the_end_of_a_limit(serve: Serve) -> None:
    with pytest.raises(Unreachable) as unreachable:
        fetch(serve(answer(429, Retry_After="5", X_RateLimit_Reset="40")).url, max_bytes=100)
    assert unreachable.value.retry_after_s == 5


def test_a_redirect_keeps_the_headers_for_the_same_origin(serve: Serve) -> None:
    def script(client: socket.socket, head: bytes) -> None:
        client.sendall(
            answer(302, Location="/b/é.jpg?x=1".encode().decode("latin-1"))
            if b"GET / " in head
            else answer(body=b"here")
        )

    server = serve(script)
    fetched = fetch(server.url, max_bytes=10, headers={"Authorization": "Bearer x"})
    assert (fetched.data, fetched.url) == (b"here", server.url + "b/%C3%A9.jpg?x=1")
    assert all(b"Authorization: Bearer x" in head for head in server.heads) and len(server.heads) == 2


def test_headers_go_to_no_other_origin(serve: Serve) -> None:
    there = serve(answer(body=b"here"))
    here = serve(answer(307, Location=there.url))
    assert fetch(here.url, max_bytes=10, headers={"Authorization": "Bearer x"}).data == b"here"
    assert b"Authorization" in here.heads[0] and b"Authorization" not in there.heads[0]


def test_an_endless_redirect_is_abandoned_after_four_requests(serve: Serve) -> None:
    server = serve(answer(301, Location="/"))
    with pytest.raises(RequestRefused) as refused:
        fetch(server.url, max_bytes=10)
    assert (refused.value.code, len(server.heads)) == ("redirect", 4)


@pytest.mark.parametrize("reply", [answer(302), answer(302, Location=""), answer(302, Location="\xff\xfe")])
def test_an_invalid_redirect_is_refused(serve: Serve, reply: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        fetch(serve(reply).url, max_bytes=10)
    assert refused.value.code == "redirect"


def test_neither_proxy_nor_netrc_nor_cookie_is_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = serve(answer(body=b"proxy"))
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    server = serve(answer(302, Location="/", Set_Cookie="sweet=1; Path=/"))
    with pytest.raises(RequestRefused):
        fetch(server.url, max_bytes=10)
    assert proxy.heads == []
    assert not [head for head in server.heads if b"cookie" in head.lower() or b"authorization" in head.lower()]


def test_a_closed_port_is_unreachable(loopback_allowed: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(Unreachable) as unreachable:
        fetch(f"http://127.0.0.1:{port}/", max_bytes=10)
    assert unreachable.value.code == "unreachable"
    assert "127.0.0.1" not in unreachable.value.message


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """A certificate authority that an operator trusts, through SSL_CERT_FILE."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    connection.tls_context.cache_clear()
    monkeypatch.setattr(connection, "tls_context", connection.tls_context.__wrapped__)
    return authority


@pytest.mark.parametrize(("identity", "code"), [("127.0.0.1", None), ("other.example", "tls")])
def test_encryption_needs_a_certificate_of_that_host(
    serve: Serve, authority: trustme.CA, identity: str, code: str | None
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(identity).configure_cert(context)
    server = serve(answer(body=b"sealed"), tls=context)
    if code is None:
        assert fetch(server.url, max_bytes=10).data == b"sealed"
        return
    with pytest.raises(RequestRefused) as refused:
        fetch(server.url, max_bytes=10)
    assert refused.value.code == code
    assert server.heads == []
