"""Where connections go, judged from the wire, in a network namespace with canaries at every address."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import quote

import pytest

from portal.remote.addresses import is_public
from tests.remote.conftest import Internet
from tests.remote.vectors import BLOCKED, PUBLIC, REFUSED

OURS = "93.184.216.34"
OURS_V6 = "2606:2800:220:1::1"
METADATA = "169.254.169.254"


def strays(answer: dict[str, Any]) -> list[tuple[str, int]]:
    """Connections to addresses that aren't public."""
    return [(host, port) for host, port in answer["dialled"] if not is_public(ipaddress.ip_address(host))]


def to(location: str, status: int = 302, host: str = "ours.example") -> str:
    return f"http://{host}/to/{status}/{quote(location, safe='')}"


NAMES = {"ours.example": [[OURS]], "good.example": [[OURS]]}


def test_a_public_photo_is_fetched(internet: Internet) -> None:
    answer = internet.fetch("http://ours.example/photo.jpg", names=NAMES)
    assert (answer["code"], answer["data"]) == ("ok", "served")
    assert answer["dialled"] == [(OURS, 80)]
    assert len(answer["asked"]) == 2  # A and AAAA
    assert answer["requests"][0]["path"] == "/photo.jpg"
    assert dict(answer["requests"][0]["headers"])["Host"] == "ours.example"


def test_a_public_photo_is_fetched_over_ipv6(internet: Internet) -> None:
    answer = internet.fetch("http://ours.example/", names={"ours.example": [[OURS_V6]]})
    assert (answer["code"], answer["dialled"]) == ("ok", [(OURS_V6, 80)])


def test_public_addresses_are_all_reached(internet: Internet) -> None:
    for address in PUBLIC:
        host = f"[{address}]" if ":" in address else address
        answer = internet.fetch(f"http://{host}/")
        assert (answer["code"], len(answer["dialled"])) == ("ok", 1), address


def test_no_address_that_is_not_public_is_dialled(internet: Internet) -> None:
    for url in BLOCKED:
        for spelling in (url, url.replace("http:", "https:"), f"{url}latest/meta-data/"):
            answer = internet.fetch(spelling)
            assert (answer["code"], answer["dialled"]) == ("blocked_address", []), spelling


def test_invalid_addresses_cause_no_connection(internet: Internet) -> None:
    for url, code in REFUSED:
        answer = internet.fetch(url, names={"*": [["127.0.0.1", "::1"]]})
        assert (answer["code"], answer["dialled"], answer["asked"]) == (code, [], []), url


@pytest.mark.parametrize(
    "records",
    [
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["168.63.129.16"],
        ["0.0.0.0"],
        ["::1"],
        ["fd00:ec2::254"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::a9fe:a9fe"],
        ["via 10.0.0.1"],
        ["via fd00::1"],
        [OURS, "10.0.0.1"],
        ["10.0.0.1", OURS],
        [OURS, "::1"],
        [OURS_V6, "127.0.0.1"],
        [OURS] * 9 + ["192.168.0.1"],
    ],
    ids=lambda records: " ".join(dict.fromkeys(records)),
)
def test_one_bad_address_of_a_name_refuses_all(internet: Internet, records: list[str]) -> None:
    answer = internet.fetch("http://theirs.example/", names={"theirs.example": [records]})
    assert (answer["code"], answer["dialled"]) == ("blocked_address", [])


@pytest.mark.parametrize("later", [METADATA, "127.0.0.1", "::1", "fd00:ec2::254"])
def test_a_name_is_looked_up_once(internet: Internet, later: str) -> None:
    answer = internet.fetch("http://theirs.example/", names={"theirs.example": [[OURS], [later]]})
    assert (answer["code"], answer["dialled"]) == ("ok", [(OURS, 80)])
    assert sorted(answer["asked"]) == [["theirs.example", "A"], ["theirs.example", "AAAA"]]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        f"http://{METADATA}/latest/meta-data/",
        "http://127.0.0.1/",
        "//10.0.0.1/",
        "//[::1]/",
        "http://theirs.example/",
        "https://theirs.example/",
        "http://[::ffff:a9fe:a9fe]/",
    ],
)
def test_a_redirect_to_a_private_address_is_not_followed(internet: Internet, status: int, location: str) -> None:
    names = {**NAMES, "theirs.example": [["10.0.0.1"]]}
    answer = internet.fetch(to(location, status), names=names)
    assert (answer["code"], answer["dialled"]) == ("blocked_address", [(OURS, 80)])


def test_the_third_hop_is_checked_like_the_first(internet: Internet) -> None:
    answer = internet.fetch(to(to(to(f"http://{METADATA}/"))), names=NAMES)
    assert (answer["code"], answer["dialled"]) == ("blocked_address", [(OURS, 80)] * 3)


def test_a_name_that_moves_between_hops_is_caught(internet: Internet) -> None:
    answer = internet.fetch(to("/again"), names={"ours.example": [[OURS], ["127.0.0.1"]]})
    assert (answer["code"], answer["dialled"]) == ("blocked_address", [(OURS, 80)])
    assert len(answer["asked"]) == 4  # A and AAAA, once a hop


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO",
        "data:image/png;base64,iVBORw0KGgo=",
        "javascript:alert(1)",
        "http://127.0.0.1:6379/",
        "http://ours.example:22/",
        "http://user:pw@ours.example/",
        "http://2130706433/",
        "http://localhost/",
        "\\\\127.0.0.1\\",
        "http:\\\\127.0.0.1/",
        "http://ours.example\\@127.0.0.1/",
        "http://127.0.0.1\t/",
        "http://[::1",
        "",
    ],
)
def test_a_redirect_to_a_forbidden_address_is_not_followed(internet: Internet, location: str) -> None:
    answer = internet.fetch(to(location), names=NAMES)
    assert (answer["code"], answer["dialled"]) == ("redirect", [(OURS, 80)])


def test_three_redirects_are_followed_and_no_more(internet: Internet) -> None:
    answer = internet.fetch(to(to(to("/photo.jpg"))), names=NAMES)
    assert (answer["code"], len(answer["requests"])) == ("ok", 4)
    answer = internet.fetch(to(to(to(to("/photo.jpg")))), names=NAMES)
    assert (answer["code"], len(answer["requests"])) == ("redirect", 4)


def test_a_redirect_never_drops_encryption(internet: Internet) -> None:
    answer = internet.fetch(to("https://good.example/photo.jpg"), names=NAMES)
    assert (answer["code"], answer["dialled"]) == ("ok", [(OURS, 80), (OURS, 443)])
    answer = internet.fetch(f"https://good.example/to/302/{quote('http://ours.example/', safe='')}", names=NAMES)
    assert (answer["code"], answer["dialled"]) == ("redirect", [(OURS, 443)])


def test_a_silent_name_server_is_abandoned(internet: Internet) -> None:
    answer = internet.fetch("http://slow.example/", names={"slow.example": ["silence"]}, deadline_s=0.3)
    assert (answer["code"], answer["dialled"]) == ("timeout", [])


def test_name_and_certificate_must_match(internet: Internet) -> None:
    answer = internet.fetch("https://good.example/photo.jpg", names=NAMES)
    assert (answer["code"], answer["data"], answer["dialled"]) == ("ok", "served", [(OURS, 443)])
    assert answer["requests"][0]["sni"] == "good.example"
    assert dict(answer["requests"][0]["headers"])["Host"] == "good.example"


@pytest.mark.parametrize("host", ["wrong.example", "expired.example", "stranger.example", OURS])
def test_an_invalid_certificate_is_refused(internet: Internet, host: str) -> None:
    answer = internet.fetch(f"https://{host}/", names={host: [[OURS]]})
    assert (answer["code"], answer["requests"]) == ("tls", [])


def test_no_cookie_goes_to_the_second_hop(internet: Internet) -> None:
    answer = internet.fetch(to("/photo.jpg"), names=NAMES)
    assert [name for request in answer["requests"] for name, _ in request["headers"] if name == "Cookie"] == []
    assert len(answer["requests"]) == 2


def test_a_private_name_looks_like_one_that_does_not_exist(internet: Internet) -> None:
    private = internet.fetch("http://db.corp.example/", names={"db.corp.example": [["10.0.0.1"]]})
    absent = internet.fetch("http://no.corp.example/", names={"no.corp.example": ["NXDOMAIN"]})
    empty = internet.fetch("http://mx.corp.example/", names={"mx.corp.example": [[]]})
    assert private["code"] == absent["code"] == empty["code"] == "blocked_address"


def test_a_name_server_in_trouble_can_be_asked_again(internet: Internet) -> None:
    assert internet.fetch("http://ours.example/", names={"ours.example": ["SERVFAIL"]})["code"] == "unreachable"


def test_a_webhook_goes_to_public_addresses_only_and_follows_no_redirect(internet: Internet) -> None:
    answer = internet.fetch("http://ours.example/hook", names=NAMES, body="{}")
    assert (answer["status"], answer["dialled"]) == (200, [(OURS, 80)])
    answer = internet.fetch(to(f"http://{METADATA}/"), names=NAMES, body="{}")
    assert (answer["status"], answer["dialled"]) == (302, [(OURS, 80)])
    answer = internet.fetch("http://theirs.example/", names={"theirs.example": [["10.0.0.1"]]}, body="{}")
    assert (answer["code"], answer["dialled"]) == ("blocked_address", [])


def test_only_allowed_networks_are_reached_at_any_port(internet: Internet) -> None:
    names = {"pms.example": [["10.1.0.7"]], "db.example": [["10.2.0.7"]], **NAMES}
    allowed = ["10.1.0.0/16"]
    assert internet.fetch("http://pms.example/", names=names, allowed=allowed)["dialled"] == [("10.1.0.7", 80)]
    answer = internet.fetch("http://pms.example:8080/", names=names, allowed=allowed)
    assert (answer["code"], answer["dialled"]) == ("unreachable", [("10.1.0.7", 8080)])
    for url in ("http://db.example/", "http://db.example:8080/", "http://ours.example:8080/"):
        answer = internet.fetch(url, names=names, allowed=allowed)
        assert (answer["code"], answer["dialled"]) == ("blocked_address", []), url
