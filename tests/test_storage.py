"""The S3 contract that the portal relies on, checked against the embedded SeaweedFS."""

import base64
import gc
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from flask import Flask

from portal import config
from portal.errors import StorageFailed
from portal.infra import storage
from tests.faults import Answer, bucket_behind_a_proxy

KEY = "images/a/b/c.jpg"
TYPE = "image/jpeg"


@pytest.fixture
def url(app: Flask) -> Iterator[str]:
    """A presigned PUT of five bytes of JPEG."""
    return storage.uploads.presign_put(KEY, content_type=TYPE, size_bytes=5)


def put(url: str, data: bytes = b"photo", type: str | None = TYPE, method: str = "PUT") -> int:
    headers = {"Content-Type": type} if type else {}
    return requests.request(method, url, data=data, headers=headers, timeout=10).status_code


def test_a_stored_object_has_its_type_and_size(app: Flask) -> None:
    storage.cdn.put("derived/a.webp", b"pixels", "image/webp")
    found = storage.cdn.head("derived/a.webp")
    assert found
    assert (found.key, found.size_bytes, found.type) == ("derived/a.webp", 6, "image/webp")
    assert storage.cdn.get("derived/a.webp") == b"pixels"


def test_an_absent_object_is_none(app: Flask) -> None:
    assert storage.cdn.head("derived/none.webp") is None
    assert storage.cdn.get("derived/none.webp") is None


def test_an_object_that_is_too_large_is_described_without_its_bytes(app: Flask) -> None:
    storage.uploads.put(KEY, b"photo", TYPE)
    found = storage.uploads.read(KEY, most_bytes=4)
    assert found
    assert (found.size_bytes, found.type, found.data) == (5, TYPE, None)
    whole = storage.uploads.read(KEY, most_bytes=5)
    assert whole
    assert whole.data == b"photo"
    assert storage.uploads.read("images/absent") is None


def test_deleting_can_be_repeated(app: Flask) -> None:
    storage.uploads.put(KEY, b"photo", TYPE)
    assert storage.uploads.delete(KEY) == set()
    assert storage.uploads.delete(KEY) == set()
    assert storage.uploads.get(KEY) is None


def test_a_thousand_objects_are_deleted_with_one_call(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAX_KEYS", 20)
    keys = [f"images/{n}" for n in range(45)]
    for key in keys:
        storage.uploads.put(key, b"x", TYPE)
    with bucket_behind_a_proxy() as front:
        assert storage.uploads.delete(*keys) == set()
    assert len(front.asked) == 3
    assert not list(storage.uploads.list())


def test_a_deletion_carries_the_digest_that_some_servers_demand(app: Flask) -> None:
    sent: list[str] = []
    client = storage.uploads._client
    client.meta.events.register(
        "before-send.s3.DeleteObjects", lambda request, **_: sent.append(request.headers["Content-MD5"])
    )
    storage.uploads.delete(KEY)
    assert [len(base64.b64decode(digest)) for digest in sent] == [16]


def test_a_listing_names_every_key_under_a_prefix(app: Flask) -> None:
    for name in ("images/a/1", "images/a/2", "images/b/1"):
        storage.uploads.put(name, b"x", TYPE)
    assert [stored.key for stored in storage.uploads.list("images/a/")] == ["images/a/1", "images/a/2"]


def test_a_presigned_url_accepts_what_was_signed(url: str) -> None:
    assert put(url) == 200
    assert storage.uploads.get(KEY) == b"photo"


@pytest.mark.parametrize("data", [b"photo, but longer", b"pho", b""])
def test_a_presigned_url_refuses_another_size(url: str, data: bytes) -> None:
    assert put(url, data) == 403
    assert storage.uploads.head(KEY) is None


@pytest.mark.parametrize("type", ["image/png", "text/html", "image/JPEG", None])
def test_a_presigned_url_refuses_another_type(url: str, type: str | None) -> None:
    assert put(url, type=type) == 403
    assert storage.uploads.head(KEY) is None


def test_a_presigned_url_refuses_another_key_method_signature_and_date(url: str) -> None:
    assert put(url.replace("c.jpg", "d.jpg")) == 403
    assert put(url, method="DELETE") == 403
    assert put(url[:-1] + ("0" if url[-1] != "0" else "1")) == 403
    assert put(url.replace("X-Amz-Expires=3600", "X-Amz-Expires=86400")) == 403
    assert put(url.partition("?")[0]) == 403
    assert not list(storage.uploads.list())


def test_a_presigned_url_is_signed_with_the_current_credentials(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role issues them for an hour, and replaces them before they expire."""
    given = tmp_path / "given"
    script = f"""import json, pathlib
given = pathlib.Path({str(given)!r})
number = int(given.read_text()) + 1 if given.exists() else 1
given.write_text(str(number))
until = "2000-01-01T00:00:00Z" if number == 1 else "2100-01-01T00:00:00Z"
key = f"KEY{{number}}"
print(json.dumps({{"Version": 1, "AccessKeyId": key, "SecretAccessKey": "s", "Expiration": until}}))
"""
    (tmp_path / "give.py").write_text(script)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {sys.executable} {tmp_path / 'give.py'}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    storage.connect(replace(config.settings(), s3_access_key=None, s3_secret_key=None))
    try:
        assert not given.exists() or given.read_text() == "1"
        url = storage.uploads.presign_put(KEY, content_type=TYPE, size_bytes=5)
        assert "X-Amz-Credential=KEY2%2F" in url
    finally:
        storage.connect(config.settings())


def test_a_bucket_cannot_be_read_without_a_key(url: str) -> None:
    storage.uploads.put(KEY, b"photo", TYPE)
    address = url.partition("?")[0]
    assert requests.get(address, timeout=10).status_code == 403
    assert requests.get(address.rpartition("/")[0], timeout=10).status_code in (403, 404)


def test_only_our_pages_may_put_from_a_browser(url: str) -> None:
    def preflight(origin: str) -> str | None:
        asks = {
            "Origin": origin,
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "content-type",
        }
        return requests.options(url, headers=asks, timeout=10).headers.get("Access-Control-Allow-Origin")

    from portal.config import settings

    assert preflight(settings().public_url) == settings().public_url
    assert preflight("https://evil.example") is None


def test_a_bucket_that_does_not_answer_is_reported_within_ten_seconds(app: Flask) -> None:
    """The connection is refused: nothing listens there."""
    from dataclasses import replace

    from portal.config import settings

    try:
        storage.connect(replace(settings(), s3_endpoint_url="http://127.0.0.1:9"))
        with pytest.raises(StorageFailed, match="did not answer"):
            storage.cdn.put("derived/a.webp", b"pixels", "image/webp")
        assert not storage.cdn.answers()
    finally:
        storage.connect(settings())


@pytest.mark.parametrize("answer", ["reset", "lost", 500])
def test_a_failed_put_keeps_no_reference_to_its_bytes(app: Flask, answer: Answer) -> None:
    """Otherwise they would stay in memory until the garbage collector runs."""
    data = bytes(1000)
    references = sys.getrefcount(data)
    gc.disable()
    try:
        with bucket_behind_a_proxy() as front, suppress(StorageFailed):
            front.answer = lambda _: answer
            storage.uploads.put(KEY, data, TYPE)
        assert sys.getrefcount(data) == references
    finally:
        gc.enable()
