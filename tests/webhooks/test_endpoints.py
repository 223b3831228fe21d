"""Endpoints: only at addresses that may be called, each with its secret, each in its workspace."""

from contextlib import suppress
from dataclasses import replace

import pytest

from portal import config
from portal.errors import Invalid, NotFound
from portal.webhooks import endpoints
from tests.factories import Person

WANTED = ["property.updated"]


def test_an_endpoint_has_a_secret_of_256_random_bits(alice: Person) -> None:
    first, second = (endpoints.create(alice.workspace, "https://a.example/hook", WANTED) for _ in range(2))
    assert first.secret.startswith("whsec_")
    assert first.secret != second.secret


NEVER_CALLED = [
    "http://127.0.0.1/",
    "http://10.0.0.8/hook",
    "http://[::1]/",
    "http://169.254.169.254/",
    "https://168.63.129.16/",
    "ftp://a.example/",
    "http://u:p@a.example/",
    "http://a.example:6379/",
    "javascript:alert(1)",
    "/hook",
    "",
]


def test_an_address_that_is_never_called_is_refused_on_creation(alice: Person) -> None:
    config.use(replace(config.settings(), allowed_private_nets=()))
    for url in NEVER_CALLED:
        with suppress(Invalid):
            endpoints.create(alice.workspace, url, WANTED)
    assert [endpoint.url for endpoint in endpoints.all_of(alice.workspace)] == []


@pytest.mark.parametrize("wanted", [[], ["property.exploded"], [*WANTED, "webhook.test"]])
def test_unknown_events_are_refused(alice: Person, wanted: list[str]) -> None:
    with pytest.raises(Invalid):
        endpoints.create(alice.workspace, "https://a.example/hook", wanted)


def test_a_workspace_has_at_most_twenty_endpoints(alice: Person) -> None:
    for _ in range(endpoints.MAX_ENDPOINTS):
        endpoints.create(alice.workspace, "https://a.example/hook", WANTED)
    with pytest.raises(Invalid, match="at most 20"):
        endpoints.create(alice.workspace, "https://a.example/hook", WANTED)


def test_charlie_finds_no_endpoint_of_alices(alice: Person, charlie: Person) -> None:
    hers = endpoints.create(alice.workspace, "https://a.example/hook", WANTED)
    delivery = endpoints.send_test(hers)
    for uuid in (str(hers.uuid), "nonsense"):
        with pytest.raises(NotFound):
            endpoints.find(charlie.workspace, uuid)
    his = endpoints.create(charlie.workspace, "https://c.example/hook", WANTED)
    with pytest.raises(NotFound):
        endpoints.find_delivery(his, str(delivery.uuid))
