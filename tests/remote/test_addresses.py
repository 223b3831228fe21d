"""Which addresses are refused on input, and which count as public."""

from __future__ import annotations

import ipaddress
import random

import pytest

from portal import config
from portal.remote import RequestRefused, check_url
from portal.remote.addresses import is_public, may_reach
from tests.remote.vectors import BLOCKED, PRIVATE_IPV4, PRIVATE_IPV6, PUBLIC, REFUSED

pytestmark = pytest.mark.usefixtures("nothing_allowed")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://example.com", "http://example.com/"),
        ("https://example.com/a/b.jpg", "https://example.com/a/b.jpg"),
        ("HTTPS://EXAMPLE.com:443/A.jpg?x=1&y=%20#top", "https://example.com/A.jpg?x=1&y=%20"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("http://example.com?w=1", "http://example.com/?w=1"),
        ("http://my_bucket.s3-eu-1.example.com/x", "http://my_bucket.s3-eu-1.example.com/x"),
        ("http://xn--mnchen-3ya.example/", "http://xn--mnchen-3ya.example/"),
        ("http://3com.example/", "http://3com.example/"),
        ("http://1.2.3.4.example/", "http://1.2.3.4.example/"),
        ("http://example.com/küche/✓.jpg", "http://example.com/k%C3%BCche/%E2%9C%93.jpg"),
        ('http://example.com/a"b<c>|^`{}', "http://example.com/a%22b%3Cc%3E%7C%5E%60%7B%7D"),
        ("http://example.com/100%.jpg", "http://example.com/100%.jpg"),
        ("http://example.com/@me:80/~you", "http://example.com/@me:80/~you"),
        ("http://example.com/?u=http://127.0.0.1/", "http://example.com/?u=http://127.0.0.1/"),
        ("http://[2606:4700:0:0::1111]/", "http://[2606:4700::1111]/"),
        ("http://1.1.1.1/", "http://1.1.1.1/"),
    ],
)
def test_an_address_is_normalised_to_one_spelling(text: str, url: str) -> None:
    assert str(check_url(text)) == url
    assert check_url(url) == check_url(text)


@pytest.mark.parametrize(("text", "code"), REFUSED, ids=lambda value: ascii(value)[:60])
def test_an_ambiguous_address_is_refused(text: str, code: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        check_url(text)
    assert refused.value.code == code


def test_no_refusal_repeats_the_input() -> None:
    for text, _ in REFUSED:
        with pytest.raises(RequestRefused) as refused:
            check_url(text)
        assert refused.value.details is None
        assert len(text) < 12 or text not in refused.value.message


@pytest.mark.parametrize("address", PRIVATE_IPV4 + PRIVATE_IPV6)
def test_a_special_address_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_next_to_the_special_ones_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_no_address_is_public_that_python_calls_private() -> None:
    dice = random.Random(4)
    for address in (
        *(ipaddress.IPv4Address(dice.getrandbits(32)) for _ in range(20_000)),
        *(ipaddress.IPv6Address(dice.getrandbits(128)) for _ in range(5_000)),
        *(ipaddress.IPv6Address(1 << 125 | dice.getrandbits(125)) for _ in range(5_000)),
    ):
        assert not is_public(address) or (address.is_global and not address.is_multicast), address


def test_a_private_address_is_valid_input_and_judged_later() -> None:
    assert len(BLOCKED) + len(REFUSED) >= 144
    for url in BLOCKED:
        check_url(url)


def test_an_operators_allowed_networks_may_be_reached_at_any_port(nothing_allowed: None) -> None:
    nets = tuple(ipaddress.ip_network(net) for net in ("10.1.0.0/16", "fd12::/16"))
    config.use(config.Settings(allowed_private_nets=nets))
    assert may_reach(ipaddress.ip_address("10.1.2.3"), 8080)
    assert may_reach(ipaddress.ip_address("fd12::1"), 8080)
    assert not may_reach(ipaddress.ip_address("10.2.0.1"), 80)
    assert not may_reach(ipaddress.ip_address("::ffff:10.1.2.3"), 80)
    assert not may_reach(ipaddress.ip_address("1.1.1.1"), 8080)
    assert check_url("http://10.1.2.3:8080/").port == 8080
    assert check_url("http://pms.internal:8080/").port == 8080  # judged when it is resolved
    for url in ("http://10.2.0.1:8080/", "http://1.1.1.1:22/"):
        with pytest.raises(RequestRefused):
            check_url(url)
