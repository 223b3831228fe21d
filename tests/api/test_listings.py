"""/api/v1/listings: pages, filters, one listing and its images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from portal.db import db
from portal.demo.pms.hostaway import FakeHostaway
from portal.listings import copies, integrations
from portal.listings.models import IntegrationAccount
from portal.work import work
from tests import factories
from tests.api.world import ABSENT
from tests.conftest import BOTH, MATRIX
from tests.factories import Person
from tests.listings import stays

PATH = "/api/v1/listings"
STATES = ("copied", "failed", "waiting")
FIELDS = ["id", "externalID", "name", "provider", "accountID", "thumbnailURL", "pictures", "createdAt", "updatedAt"]


@pytest.fixture
def distant(alice: Person) -> IntegrationAccount:
    """An account of Alice's in a PMS that does not answer; the Image CDN is on."""
    return stays.connected(alice.workspace, {"clientId": "1", "clientSecret": "s"})


def page(person: Person, query: str = "") -> list[Any]:
    response = person.api("GET", f"{PATH}?{query}")
    assert response.status_code == 200, response.text
    assert list(response.json) == ["listings", "nextCursor"]
    return list(response.json["listings"])


def names(person: Person, query: str = "") -> list[str]:
    return [listing["name"] for listing in page(person, query)]


def test_a_new_workspace_has_no_listings(alice: Person) -> None:
    assert alice.api("GET", PATH).json == {"listings": [], "nextCursor": None}


def test_a_listing_is_as_the_pms_describes_it(alice: Person, account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    integrations.switch_image_cdn(alice.workspace, "hostaway", enabled=False)
    (listing, *others) = alice.api("GET", PATH).json["listings"]
    assert len(others) == 2
    assert list(listing) == FIELDS
    fake = pms.catalogue.listings[1]
    assert listing == {
        "id": listing["id"],
        "externalID": "1",
        "name": fake.name,
        "provider": "HOSTAWAY",
        "accountID": str(account.uuid),
        "thumbnailURL": pms.url_of(fake.pictures[0]),
        "pictures": [
            {"url": pms.url_of(picture), "description": picture.description, "id": str(picture.id)}
            for picture in fake.pictures
        ],
        "createdAt": listing["createdAt"],
        "updatedAt": listing["updatedAt"],
    }
    assert alice.api("GET", f"{PATH}/{listing['id']}").json == listing


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_250_listings_are_read_page_by_page(alice: Person, distant: IntegrationAccount) -> None:
    stays.told(distant, 250)
    seen, cursor, pages = [], "", 0
    while cursor is not None:
        found = alice.api("GET", f"{PATH}?limit=100{cursor and f'&cursor={cursor}'}").json
        seen += [listing["externalID"] for listing in found["listings"]]
        cursor, pages = found["nextCursor"], pages + 1
    assert pages == 3
    assert seen == [str(number) for number in range(1, 251)]
    assert len(names(alice)) == 50, "by default"


def test_the_last_page_has_no_cursor(alice: Person, distant: IntegrationAccount) -> None:
    stays.told(distant, 10)
    first = alice.api("GET", f"{PATH}?limit=5").json
    second = alice.api("GET", f"{PATH}?limit=5&cursor={first['nextCursor']}").json
    assert (len(first["listings"]), len(second["listings"]), second["nextCursor"]) == (5, 5, None)


def test_paging_continues_after_a_deleted_listing(alice: Person, distant: IntegrationAccount) -> None:
    told = stays.told(distant, 4)
    cursor = alice.api("GET", f"{PATH}?limit=2").json["nextCursor"]
    with work():
        db.session.delete(told[1])
    assert names(alice, f"cursor={cursor}") == ["Home 3", "Home 4"]


def test_cursors_are_opaque_and_belong_to_one_list(alice: Person, distant: IntegrationAccount) -> None:
    """Row ids and cursors of the list of properties are refused."""
    told = stays.told(distant, 2)
    for number in range(2):
        factories.home_of(alice.workspace, f"Home {number}")
    cursor = alice.api("GET", f"{PATH}?limit=1").json["nextCursor"]
    other = alice.api("GET", "/api/v1/properties?limit=1").json["nextCursor"]
    assert not cursor.isdigit()
    for wrong in (told[0].id, other):
        response = alice.api("GET", f"{PATH}?cursor={wrong}")
        assert (response.status_code, response.json["code"]) == (422, "cursor")


INVALID_QUERIES = [
    "limit=0",
    "limit=101",
    "limit=x",
    "limit=1.5",
    "cursor=x",
    "cursor=-1",
    "cursor=%00",
    "cursor=99999999999999999999",
    "state=done",
    "state=",
    "provider=airbnb",
    "provider=",
    "q=%00",
]


def test_an_invalid_query_is_a_422(alice: Person, subtests: pytest.Subtests) -> None:
    for query in INVALID_QUERIES:
        with subtests.test(query=query):
            response = alice.api("GET", f"{PATH}?{query}")
            assert (response.status_code, list(response.json)) == (422, ["code", "message", "details"])


def test_foreign_cursors_and_accounts_reveal_nothing(
    alice: Person, charlie: Person, distant: IntegrationAccount
) -> None:
    stays.told(distant, 3)
    his = stays.connected(charlie.workspace, {"clientId": "1", "clientSecret": "s"})
    stays.told(his, 1)
    cursor = alice.api("GET", f"{PATH}?limit=1").json["nextCursor"]
    assert len(names(charlie, f"cursor={cursor}")) == 1
    foreign = charlie.api("GET", f"{PATH}?account={distant.uuid}")
    assert foreign.json == {"listings": [], "nextCursor": None}
    assert charlie.api("GET", f"{PATH}?account={ABSENT}").data == foreign.data


def test_listings_are_filtered_by_provider_and_account(alice: Person, distant: IntegrationAccount) -> None:
    other = stays.connected(alice.workspace, {"clientId": "2", "clientSecret": "s"})
    stays.told(distant, 2)
    stays.told(other, 1)
    assert len(names(alice, "provider=hostaway")) == len(names(alice, "provider=HOSTAWAY")) == 3
    assert len(names(alice, f"account={distant.uuid}")) == 2
    assert names(alice, f"provider=Hostaway&account={other.uuid}") == ["Home 1"]
    for nonsense in ("", "x", "1", "%00"):
        assert names(alice, f"account={nonsense}") == []


FOUND = [
    ("home 2", ["Home 2", "Home 12"]),
    ("HOME 12", ["Home 12"]),
    ("  ", [f"Home {n}" for n in range(1, 13)]),
    ("11", ["Home 11"]),
    ("%", []),
    ("_", []),
    ("villa", []),
    ("\\", []),
]


def test_listings_are_searched_by_words_of_name_and_id(
    alice: Person, distant: IntegrationAccount, subtests: pytest.Subtests
) -> None:
    stays.told(distant, 12)
    for search, found in FOUND:
        with subtests.test(search=search):
            response = alice.api("GET", PATH, query_string={"q": search})
            assert [listing["name"] for listing in response.json["listings"]] == found


@pytest.mark.parametrize("database", MATRIX, indirect=True)
def test_listings_are_filtered_by_the_state_of_their_pictures(
    alice: Person, account: IntegrationAccount, pms: FakeHostaway
) -> None:
    """One is copied, one has a failed picture, one a failed and a waiting picture, and one waits."""
    pms.catalogue.add(1)
    for status, name in ((404, "2/2"), (404, "3/2"), (503, "3/3"), (503, "4/1")):
        pms.fail_next(1, status, below=f"/pictures/{name}.jpg")
    stays.synced(account)
    ids = {state: [each["externalID"] for each in page(alice, f"state={state}")] for state in STATES}
    assert ids == {"copied": ["1"], "failed": ["2", "3"], "waiting": ["3", "4"]}


def test_filters_and_paging_combine(alice: Person, distant: IntegrationAccount) -> None:
    stays.told(distant, 30)
    query = f"q=2&account={distant.uuid}&state=waiting&limit=5"
    first = alice.api("GET", f"{PATH}?{query}").json
    assert [each["externalID"] for each in first["listings"]] == ["2", "12", "20", "21", "22"]
    rest = alice.api("GET", f"{PATH}?{query}&cursor={first['nextCursor']}").json
    assert [each["externalID"] for each in rest["listings"]] == ["23", "24", "25", "26", "27"]


def test_images_are_listed_thumbnail_first_then_gallery_then_superseded(
    alice: Person, account: IntegrationAccount, pms: FakeHostaway
) -> None:
    stays.synced(account)
    old = pms.url_of(pms.catalogue.listings[1].pictures[2])
    pms.catalogue.change_url(1, 2)
    stays.synced(account)
    listing = alice.api("GET", PATH).json["listings"][0]
    images = alice.api("GET", f"{PATH}/{listing['id']}/images").json
    assert [(image["imageType"], image["position"]) for image in images] == [
        ("THUMBNAIL", 0),
        *(("GALLERY", n) for n in range(4)),
        ("GALLERY", 2),
    ]
    assert images[-1]["originalURL"] == old


def test_a_failed_picture_can_be_retried(alice: Person, account: IntegrationAccount, pms: FakeHostaway) -> None:
    pms.fail_next(1, 404, below="/pictures/1/3.jpg")
    stays.synced(account)
    at = f"{PATH}/{alice.api('GET', PATH).json['listings'][0]['id']}/images"
    failed = alice.api("GET", at).json[3]
    assert failed["failureReason"] == "PMS image returns 404"
    response = alice.api("POST", f"{at}/{failed['id']}/retry")
    assert response.status_code == 202
    assert response.json == failed | {"failureReason": None, "updatedAt": response.json["updatedAt"]}
    copies.run()
    done = alice.api("GET", at).json[3]
    assert (done["failureReason"], bool(done["cdnURL"])) == (None, True)


def test_a_superseded_picture_cannot_be_retried(alice: Person, account: IntegrationAccount, pms: FakeHostaway) -> None:
    stays.synced(account)
    pms.catalogue.change_url(1, 2)
    stays.synced(account)
    at = f"{PATH}/{alice.api('GET', PATH).json['listings'][0]['id']}/images"
    response = alice.api("POST", f"{at}/{alice.api('GET', at).json[-1]['id']}/retry")
    assert (response.status_code, response.json["code"]) == (409, "superseded")


def test_a_retry_takes_an_idempotency_key(alice: Person, distant: IntegrationAccount) -> None:
    (listing,) = stays.told(distant)
    at = f"{PATH}/{listing.uuid}/images/{stays.images(listing)[0].uuid}/retry"
    answers = [alice.api("POST", at, headers={"Idempotency-Key": "6d1c"}) for _ in range(2)]
    assert answers[0].data == answers[1].data
    assert ["Idempotent-Replayed" in answer.headers for answer in answers] == [False, True]


@pytest.mark.parametrize("database", BOTH, indirect=True)
def test_a_page_falls_back_to_the_pms_urls_if_substitution_fails(
    alice: Person, account: IntegrationAccount, pms: FakeHostaway
) -> None:
    stays.synced(account)
    with_copies = alice.api("GET", PATH).json
    with db.engine.begin() as connection:
        connection.execute(text("ALTER TABLE listing_image RENAME TO away"))
    try:
        without = alice.api("GET", PATH)
    finally:
        with db.engine.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO listing_image"))
    assert without.status_code == 200
    assert pms.url in without.json["listings"][0]["pictures"][0]["url"]
    assert [each["id"] for each in without.json["listings"]] == [each["id"] for each in with_copies["listings"]]


def test_a_page_takes_a_fixed_number_of_statements(
    alice: Person, distant: IntegrationAccount, statements: Callable[..., int]
) -> None:
    stays.told(distant, 60, pictures=3)
    alice.api("GET", PATH)  # updates the key's time of use
    one, fifty = (statements(alice.api, "GET", f"{PATH}?limit={limit}") for limit in (1, 50))
    assert one == fifty
