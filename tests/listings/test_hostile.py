"""Hosts of pictures that lie, hang, flood and lead astray: each ends in its failureReason, and harms no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from portal.demo.pms.hostaway import FakeHostaway
from portal.listings.copies import fetch
from portal.listings.models import GALLERY, IntegrationAccount
from tests import factories
from tests.conftest import BOTH, MATRIX
from tests.listings import stays
from tests.outside import Reply, outside
from tests.pixels.files import drawn, jpeg_with_scans, png_around
from tests.remote.conftest import Script, Server
from tests.remote.test_hostile_servers import CHUNKED, OK, drip, flood, silence

SIZE = 1, 2  # one listing of two pictures
NOT_AN_IMAGE = "Invalid image format: "
TOO_LARGE = "Image too large: it exceeds 50 MB"
NOT_FETCHED = "PMS image can't be fetched: "
TOO_SLOW = f"{NOT_FETCHED}The server took too long to answer."
BLOCKED = f"{NOT_FETCHED}This host has no public address."
REDIRECTED = f"{NOT_FETCHED}The redirect leads to an address that isn't allowed."
PHOTO = factories.jpeg(640, 480)


def body(data: bytes, *headers: bytes) -> bytes:
    head = b"".join(header + b"\r\n" for header in (b"Content-Type: image/jpeg", *headers))
    return OK + head + b"Content-Length: %d\r\n\r\n" % len(data) + data


def moved(to: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + to + b"\r\n\r\n"


LIES: dict[str, tuple[Script | bytes, str]] = {
    "HTML": (body(b"<!doctype html><html><script>alert(1)</script>"), NOT_AN_IMAGE),
    "SVG": (body(b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'), NOT_AN_IMAGE),
    "a TIFF": (body(drawn("TIFF")), NOT_AN_IMAGE),
    "a BMP": (body(drawn("BMP")), NOT_AN_IMAGE),
    "only magic bytes": (body(b"\xff\xd8\xff\xe0"), NOT_AN_IMAGE),
    "nothing": (body(b""), NOT_AN_IMAGE),
    "half a photo": (body(PHOTO[: len(PHOTO) // 2]), NOT_AN_IMAGE),
    "a scan bomb": (body(jpeg_with_scans(8_000)), NOT_AN_IMAGE),
    "50,000 pixels squared": (body(png_around(50_000, 50_000)), NOT_AN_IMAGE),
    "60 MB announced": (flood(OK + b"Content-Length: 60000000\r\n\r\n", b"x"), TOO_LARGE),
    "endless": (flood(CHUNKED, b"8000\r\n" + b"x" * 0x8000 + b"\r\n"), TOO_LARGE),
    "packed": (body(PHOTO, b"Content-Encoding: gzip"), f"{NOT_FETCHED}The response is compressed"),
    "less than announced": (body(PHOTO)[:-1], f"{NOT_FETCHED}The response was truncated."),
    "silence": (silence, TOO_SLOW),
    "a drip": (drip(OK + b"Content-Length: 900\r\n\r\n"), TOO_SLOW),
    "a drip of headers": (drip(OK, b"a: b\r\n"), TOO_SLOW),
    "no web server": (b"SSH-2.0-OpenSSH_9.9\r\n", f"{NOT_FETCHED}The server can't be reached"),
    "to a private address": (moved(b"http://10.0.0.1/1.jpg"), BLOCKED),
    "to the cloud's secrets": (moved(b"http://169.254.169.254/latest/meta-data/"), BLOCKED),
    "to a file": (moved(b"file:///etc/passwd"), REDIRECTED),
    "to itself": (moved(b"/1.jpg"), f"{NOT_FETCHED}Too many redirects."),
}


@contextmanager
def serving(*scripts: Script | bytes) -> Iterator[list[Server]]:
    """A server for each of these."""
    servers: list[Server] = []
    with ExitStack() as stack:
        for script in scripts:
            served = (lambda client, _, data=script: client.sendall(data)) if isinstance(script, bytes) else script
            servers.append(Server(served, tls=None, is_rude=False))
            stack.callback(servers[-1].close)
        yield servers


def test_each_lie_ends_in_its_reason_and_the_good_picture_beside_it_is_copied(
    account: IntegrationAccount, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "DEADLINE_S", 2)
    monkeypatch.setattr(fetch, "RETRY_AFTER_S", ())
    monkeypatch.setattr(fetch, "MAX_BYTES", 2_000_000)
    good = pms.url_of(pms.catalogue.listings[1].pictures[0])
    with serving(*(script for script, _ in LIES.values())) as servers:
        stays.showing(pms, good, *(f"{server.url}1.jpg" for server in servers))
        stays.synced(account)
    first, *others = stays.gallery()
    assert first.key
    said = dict(zip(LIES, (image.failure_reason for image in others), strict=True))
    wrong = {lie: said[lie] for lie, (_, reason) in LIES.items() if not str(said[lie]).startswith(reason)}
    assert not wrong
    assert len(stays.objects()) == 2
    assert [url for url in stays.shown_urls() if not stays.is_cdn(url)] == [image.original_url for image in others]


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_addresses_that_lead_into_our_own_network_or_nowhere_are_reasons_too(
    account: IntegrationAccount, pms: FakeHostaway
) -> None:
    odd = [
        "http://10.0.0.1/1.jpg",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/1.jpg",
        "http://[fd00::1]/1.jpg",
        "http://0x7f.1/1.jpg",
        "http://localhost/1.jpg",
        "http://user:secret@example.com/1.jpg",
        "http://example.com:22/1.jpg",
        "http://[broken/1.jpg",
        "http://ex℀mple.com/1.jpg",
        "http://exa%00mple.com/1.jpg",
        "https://" + "a" * 2000 + "/1.jpg",
    ]
    good = pms.url_of(pms.catalogue.listings[1].pictures[0])
    stays.showing(pms, good, *odd)
    stays.synced(account)
    while any(image.next_at for image in stays.images() if not image.key):
        stays.run_due()
    assert account.error is None
    first, *others = stays.gallery()
    assert first.key
    assert [image.original_url for image in others] == odd
    assert all(str(image.failure_reason).startswith(NOT_FETCHED) for image in others)
    assert not any("secret" in str(image.failure_reason) for image in others)


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_validators_that_can_not_be_kept_are_not_and_the_picture_is_copied(
    account: IntegrationAccount, pms: FakeHostaway
) -> None:
    headers = {"NUL": b"a\x00b", "Latin-1": b"\xff\xfe", "long": b"x" * 10_000, "two": b'"\r\n folded"', "none": b""}
    answers = [body(PHOTO, b"ETag: " + header, b"Last-Modified: " + header) for header in headers.values()]
    with serving(*answers) as servers:
        stays.showing(pms, *(f"{server.url}1.jpg" for server in servers))
        stays.synced(account)
        stays.run_due()
        asked = {name: len(server.heads) for name, server in zip(headers, servers, strict=True)}
    reasons = [image.failure_reason for image in stays.gallery()]
    assert dict(zip(headers, reasons, strict=True)) == dict.fromkeys(headers)
    assert all(image.key for image in stays.images())
    assert asked == dict.fromkeys(headers, 2), "each is verified once, whatever it said"


def test_large_pictures_are_fetched_a_few_at_a_time(
    account: IntegrationAccount, pms: FakeHostaway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "USUAL_BYTES", 1000)
    with outside(lambda _: Reply(body=PHOTO)) as host:
        stays.showing(pms, *(f"{host.url}/{n}.jpg" for n in range(8)))
        stays.synced(account)
        while any(image.next_at for image in stays.images() if not image.key):
            stays.run_due()
    assert {image.failure_reason for image in stays.images()} == {None}
    assert len([image for image in stays.images() if image.type == GALLERY and image.key]) == 8
