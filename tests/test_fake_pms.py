"""The PMS for trying things out: its pictures, changes that tests make to it, and the command that starts it."""

from __future__ import annotations

import hashlib
import re
import signal
import socket
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import requests
from flask import Flask
from PIL import Image

from portal.demo.pms.catalogue import FakePicture
from portal.demo.pms.hostaway import FakeHostaway
from portal.demo.pms.paint import painted
from portal.demo.pms.server import PmsReply, Window
from tests.installation import DEAF
from tests.processes import started, until
from tests.servers import free_port


@pytest.fixture
def pms() -> Iterator[FakeHostaway]:
    with FakeHostaway(listings=3, pictures=4) as pms:
        yield pms


def got(pms: FakeHostaway, picture: FakePicture, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return requests.get(pms.url_of(picture), headers=named, timeout=5)


def test_each_picture_has_distinct_and_stable_bytes(pms: FakeHostaway) -> None:
    pictures = list(pms.catalogue.served.values())
    assert len(pictures) == 3 * 4 + 2, "the first listing's thumbnail is its first picture"
    bodies = [got(pms, picture).content for picture in pictures]
    assert len(set(bodies)) == len(bodies)
    assert bodies == [picture.bytes() for picture in pictures]
    assert [hashlib.md5(body).hexdigest() for body in bodies] == [picture.md5 for picture in pictures]
    assert pms.count("/pictures/", 200) == len(pictures)


def test_every_listing_number_and_version_look_different() -> None:
    made = {painted(listing, number, version) for listing in (1, 2, 30) for number in (0, 7, 19) for version in (0, 1)}
    assert len(made) == 18


def test_a_picture_is_a_jpeg_without_metadata(pms: FakeHostaway) -> None:
    data = pms.catalogue.listings[1].pictures[0].bytes()
    picture = Image.open(BytesIO(data))
    assert (picture.format, picture.size) == ("JPEG", (480, 320))
    assert not picture.getexif() and "comment" not in picture.info and "icc_profile" not in picture.info
    assert not re.findall(rb"\xff[\xe1-\xef\xfe]", data[: data.index(b"\xff\xda")])


def test_an_unchanged_picture_is_not_sent_again(pms: FakeHostaway) -> None:
    picture = pms.catalogue.listings[1].pictures[0]
    first = got(pms, picture)
    tag, moment = first.headers["ETag"], first.headers["Last-Modified"]
    for known in ({"If_None_Match": tag}, {"If_Modified_Since": moment}):
        again = got(pms, picture, **known)
        assert (again.status_code, again.content) == (304, b"")
    with pms.lock:
        pms.catalogue.change_bytes(1, 0)
    for known in ({"If_None_Match": tag}, {"If_Modified_Since": moment}):
        again = got(pms, picture, **known)
        assert (again.status_code, again.content) == (200, picture.bytes())
        assert again.content != first.content
    assert pms.count("/pictures/", 304) == 2


def test_a_picture_can_be_moved_and_a_listing_removed(pms: FakeHostaway) -> None:
    picture = pms.catalogue.listings[2].pictures[1]
    old, data = pms.url_of(picture), picture.bytes()
    for moved in ("2/2-2.jpg", "2/2-3.jpg"):
        pms.catalogue.change_url(2, 1)
        assert picture.name == moved
        assert (got(pms, picture).content, requests.get(old, timeout=5).status_code) == (data, 404)
    gone = pms.catalogue.listings[3]
    pms.catalogue.remove(3)
    assert {got(pms, one).status_code for one in (*gone.pictures, gone.thumbnail)} == {404}


def test_the_next_requests_fail_as_configured(pms: FakeHostaway) -> None:
    picture = pms.catalogue.listings[1].pictures[0]
    pms.fail_next(2, PmsReply(503, b"busy", {"Retry-After": "9"}), below="/pictures/")
    pms.fail_next(1, 500, below="/v1/")
    answers = [got(pms, picture) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "9"
    assert pms.count("/pictures/1/1.jpg", 503) == 2
    assert requests.get(f"{pms.base_url}/listings", timeout=5).status_code == 500


def test_the_api_enforces_its_limits_and_the_pictures_have_none(pms: FakeHostaway) -> None:
    codes = [requests.get(f"{pms.base_url}/listings", timeout=5).status_code for _ in range(16)]
    assert codes == [403] * 15 + [429]
    limited = requests.get(f"{pms.base_url}/listings", timeout=5)
    assert (limited.json()["status"], 1 <= int(limited.headers["Retry-After"]) <= 10) == ("fail", True)
    pms.is_limited = False
    assert requests.get(f"{pms.base_url}/listings", timeout=5).status_code == 403
    assert {got(pms, pms.catalogue.listings[1].pictures[0]).status_code for _ in range(20)} == {200}


def test_a_token_is_not_valid_before_its_second_has_passed(pms: FakeHostaway) -> None:
    pms.valid_after_s = 600
    form = {"grant_type": "client_credentials", "scope": "general", "client_id": "12345"}
    form["client_secret"] = pms.credentials["clientSecret"]
    said = requests.post(f"{pms.base_url}/accessTokens", data=form, timeout=5).json()
    bearer = {"Authorization": f"Bearer {said['access_token']}"}
    assert requests.get(f"{pms.base_url}/listings", headers=bearer, timeout=5).status_code == 403
    pms.tokens[said["access_token"]] -= 600
    listed = requests.get(f"{pms.base_url}/listings?limit=2&offset=1", headers=bearer, timeout=5).json()
    assert (listed["count"], listed["page"], listed["totalPages"]) == (3, 1, 2)
    assert [(one["id"], one["listingImages"]) for one in listed["result"]] == [(2, []), (3, [])], "without resources"


def test_a_window_allows_its_number_of_calls_and_says_how_long_to_wait() -> None:
    window = Window(2, 60)
    assert [window.wait_s("a"), window.wait_s("a"), window.wait_s("b")] == [0, 0, 0]
    assert 0 < window.wait_s("a") <= 60


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_the_command_prints_what_to_type_and_serves_it(tmp_path: Path, number: signal.Signals) -> None:
    port, said = str(free_port()), tmp_path / "said"
    command = (*DEAF, "-m", "flask", "--app", "app", "fake-pms", "hostaway", "--pictures", "1", "--port", port)
    with said.open("w") as output, started(*command, env={"DATA_DIR": str(tmp_path)}, stdout=output) as process:
        until(lambda: "Ctrl-C" in said.read_text() or process.poll() is not None)
        assert "ALLOWED_PRIVATE_NETS" in said.read_text()
        rows = [line.split() for line in said.read_text().splitlines() if line.startswith("  ")]
        assert rows == [
            ["Account", "ID", "clientId", "12345"],
            ["API", "key", "clientSecret", "a-secret-for-trying-things"],
            ["Address", "baseUrl", f"http://127.0.0.1:{port}/v1"],
        ], "by the field names of the page and of the API"
        assert requests.get(f"http://127.0.0.1:{port}/pictures/2/1.jpg", timeout=30).content == painted(2, 0)
        process.send_signal(number)
        assert process.wait(timeout=60) == 0


def test_a_port_in_use_is_reported(app: Flask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = app.test_cli_runner().invoke(args=["fake-pms", "hostaway", "--port", str(port)])
    assert (said.exit_code, said.output) == (1, f"Error: Port {port} can't be used: Address already in use.\n")
