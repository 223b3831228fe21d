"""What people type to connect an account, validated before any connection is opened."""

from __future__ import annotations

import pytest

from portal.errors import Invalid, NotFound
from portal.listings.providers import ALL, find, validated
from tests.listings.fakes.known import Known, key_of


def problems(key: str, **typed: str) -> dict[str, str]:
    with pytest.raises(Invalid) as raised:
        validated(ALL[key], typed)
    assert raised.value.code == "fields"
    return raised.value.details


@pytest.mark.parametrize("key", ["HOSTAWAY", "hostaway", "HostAway"])
def test_a_provider_is_found_in_any_case(key: str) -> None:
    assert find(key) is ALL["HOSTAWAY"]


@pytest.mark.parametrize("key", ["", "NOBODY", "hostaway ", "ﬁnd", "__class__", "HOSTAWAY\0"])
def test_an_unknown_provider_is_not_found(key: str) -> None:
    with pytest.raises(NotFound):
        find(key)


def test_each_provider_is_registered_under_its_key() -> None:
    assert list(ALL) == ["HOSTAWAY", "HOSPITABLE", "GUESTY", "CLOUDBEDS", "GENERIC"]
    for key, provider in ALL.items():
        assert provider.key == key
        assert provider.name
        assert len({field.name for field in provider.fields}) == len(provider.fields)
        assert [field for field in provider.fields if field.is_secret]
        assert all(limit.per in ("account", "host") and limit.calls > 0 for limit in provider.limits)


def test_the_fakes_credentials_are_valid(known: Known) -> None:
    with known.make() as pms:
        assert validated(ALL[key_of(pms)], pms.credentials) == pms.credentials


def test_white_space_and_blank_fields_are_dropped() -> None:
    typed = {"clientId": " 12345\n", "clientSecret": "\ts3cret ", "baseUrl": "  "}
    assert validated(ALL["HOSTAWAY"], typed) == {"clientId": "12345", "clientSecret": "s3cret"}


def test_every_invalid_field_is_reported_together() -> None:
    said = problems("HOSTAWAY", clientId="x" * 2001, baseUrl="ftp://x.example", colour="red")
    assert said == {
        "colour": "Hostaway has no such field.",
        "clientId": "At most 2,000 characters.",
        "clientSecret": "API key is missing.",
        "baseUrl": "The address must start with https:// or http://.",
    }


def test_no_problem_repeats_the_value() -> None:
    with pytest.raises(Invalid) as raised:
        validated(ALL["HOSTAWAY"], {"clientId": "secret\nvalue", "clientSecret": "secret\0value", "baseUrl": "secret"})
    assert "secret" not in raised.value.message + repr(raised.value.details)


@pytest.mark.parametrize("base", ["https://api.example/v1?x=1", "https://api.example/#v1"])
def test_a_base_url_ends_with_a_path(base: str) -> None:
    assert set(problems("GUESTY", clientId="1", clientSecret="2", baseUrl=base)) == {"baseUrl"}


@pytest.mark.parametrize("url", ["http://127.0.0.1/feed", "https://10.0.0.1/", "http://[::1]/", "https://localhost/"])
@pytest.mark.parametrize("key", ["GENERIC", "HOSPITABLE"])
def test_a_local_address_is_refused(nothing_allowed: None, key: str, url: str) -> None:
    typed = {"url": url} if key == "GENERIC" else {"accessToken": "x", "baseUrl": url}
    assert len(problems(key, **typed)) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:8010/v1", "http://127.0.0.1/v1", "https://[fd00::1]:8443/"])
def test_a_local_address_is_refused_at_any_port(nothing_allowed: None, url: str) -> None:
    said = problems("HOSTAWAY", clientId="1", clientSecret="2", baseUrl=url)
    assert said == {
        "baseUrl": "This address is not on the public internet. Only the operator of this portal can allow it."
    }
    assert "ports 80 and 443" in problems("GENERIC", url="https://1.1.1.1:8443/")["url"]


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Transfer-Encoding", "Proxy-Authorization", "a b", "a:b", "é"]
)
def test_a_header_that_frames_or_routes_a_request_is_refused(name: str) -> None:
    assert set(problems("GENERIC", url="https://feed.example/", headerName=name, headerValue="x")) == {"headerName"}


@pytest.mark.parametrize("value", ["a\nb", "a\x7fb", "clé"])
def test_a_value_that_is_invalid_in_a_header_is_refused(value: str) -> None:
    said = problems("GENERIC", url="https://feed.example/", headerName="X-Key", headerValue=value)
    assert set(said) == {"headerValue"}
    assert set(problems("CLOUDBEDS", apiKey=value)) == {"apiKey"}
