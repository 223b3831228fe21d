"""JSON feeds of all kinds: paths, pages, and links to elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from portal.demo.pms.server import PmsReply, as_json
from portal.listings.providers.account import HttpAccount
from portal.listings.providers.base import Page, Picture
from portal.remote import Unreachable
from tests.listings.fakes.feed import FakeFeed
from tests.listings.fakes.known import account_of, feed
from tests.outside import Reply, Seen, outside

pytestmark = pytest.mark.usefixtures("unlimited")


def all_of(account: HttpAccount) -> list[Page]:
    return list(account.provider.pages(account, None))


def test_a_plain_feed_needs_no_paths_and_may_be_a_bare_list() -> None:
    with FakeFeed() as pms:
        expected = [feed(pms, listing) for listing in pms.catalogue.listings.values()]
        assert list(all_of(account_of(pms))[0].listings) == expected
        pms.is_bare = True
        assert list(all_of(account_of(pms))[0].listings) == expected


def test_a_feed_of_one_page_is_fetched_once_and_yielded_in_parts() -> None:
    with FakeFeed(listings=250, pictures=1) as pms:
        pages = all_of(account_of(pms))
        assert [len(page.listings) for page in pages] == [100, 100, 50]
        assert pms.count() == 1
        rest = list(account_of(pms).provider.pages(account_of(pms), pages[0].next_cursor))
        assert rest == pages[1:]


def test_pages_may_be_selected_by_a_parameter_instead_of_a_link() -> None:
    with FakeFeed(listings=5, pictures=1, per_page=2) as pms:
        pms.is_linked = False
        pages = all_of(account_of(pms, cursorParameter="after"))
        assert [len(page.listings) for page in pages] == [2, 2, 1]


def test_a_feed_with_other_field_names_is_read_by_its_paths() -> None:
    said = {
        "result": {
            "homes": [
                {
                    "ref": {"code": 17},
                    "texts": [{"title": "By the lake"}],
                    "cover": "//img.example/c.jpg",
                    "media": {"photos": [{"sizes": {"xl": "https://img.example/1.jpg"}, "alt": "A lake"}]},
                }
            ]
        }
    }
    with FakeFeed() as pms:
        pms.fail_next(1, as_json(said))
        account = account_of(
            pms,
            listPath="result.homes",
            idPath="ref.code",
            namePath="texts.0.title",
            thumbnailPath="cover",
            picturesPath="media.photos",
            pictureURLPath="sizes.xl",
            descriptionPath="alt",
        )
        ((found,),) = [page.listings for page in all_of(account)]
    assert (found.external_id, found.name, found.thumbnail_url) == ("17", "By the lake", "https://img.example/c.jpg")
    assert found.pictures == (Picture("https://img.example/1.jpg", "A lake"),)


def test_pictures_may_be_plain_urls_and_the_first_is_the_thumbnail() -> None:
    with FakeFeed() as pms:
        pms.fail_next(1, as_json([{"id": 1, "pictures": ["https://img.example/1.jpg", 7, None]}]))
        ((found,),) = [page.listings for page in all_of(account_of(pms))]
    assert found.pictures == (Picture("https://img.example/1.jpg"),)
    assert found.thumbnail_url == "https://img.example/1.jpg"


def linked(pms: FakeFeed, link: Any) -> list[Page]:
    page = {"listings": [{"id": "home-0"}], "next": link}
    pms.fail_next(1, as_json(page))
    return all_of(account_of(pms))


def test_no_link_is_followed_to_another_host() -> None:
    with outside(lambda seen: Reply(body=b"[]")) as elsewhere, FakeFeed() as pms:
        host = pms.url.removeprefix("http://")
        for link in (
            f"{elsewhere.url}/export/feed.json",
            f"//{elsewhere.url.removeprefix('http://')}/",
            f"https://{host}/export/feed.json?lang=en",
            f"http://{host}@{elsewhere.url.removeprefix('http://')}/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "//[",
            "https://",
        ):
            with pytest.raises(Unreachable) as raised:
                linked(pms, link)
            assert raised.value.code == "bad_answer", link
        assert elsewhere.seen == []


@pytest.mark.parametrize("link", ["feed.json?lang=en", "/export/feed.json?lang=en", " ?lang=en "])
def test_a_link_may_point_to_any_path_on_the_same_host(link: str) -> None:
    with FakeFeed() as pms:
        assert [len(page.listings) for page in linked(pms, link)] == [1, 3]


@pytest.mark.parametrize("link", [None, "", "  ", False, 7.5, [], {}])
def test_an_invalid_link_ends_the_feed(link: Any) -> None:
    with FakeFeed() as pms:
        assert [len(page.listings) for page in linked(pms, link)] == [1]


@pytest.mark.parametrize("link", ["?" + "x" * 500, "?a=\0", "?a=\ud800"])
def test_a_link_that_no_database_stores_is_an_invalid_response(link: str) -> None:
    with FakeFeed() as pms:
        pms.fail_next(1, as_json({"listings": [{"id": "home-0"}], "next": link}))
        with pytest.raises(Unreachable) as raised:
            next(account_of(pms).provider.pages(account_of(pms), None))
        assert raised.value.code == "bad_answer"


def test_the_header_is_not_sent_to_another_host_after_a_redirect() -> None:
    seen: list[Seen] = []

    def answer(asked: Seen) -> Reply:
        seen.append(asked)
        return Reply(body=b'{"listings": []}')

    with outside(answer) as elsewhere, FakeFeed() as pms:
        pms.fail_next(1, PmsReply(302, b"", {"Location": elsewhere.url}))
        assert all_of(account_of(pms))[0].listings == ()
    assert len(seen) == 1
    assert "x-feed-key" not in seen[0].headers


def test_a_flood_of_invalid_pictures_is_skipped_fast() -> None:
    """It took 4 minutes while each step of each path was evaluated."""
    deep = ".".join("a" * 900)
    floods = [[{}] * 200_000, [1] * 200_000, [{"a": {}}] * 100_000]
    with FakeFeed(listings=len(floods), pictures=1) as pms:
        pms.twist = lambda listing: listing | {"pictures": floods.pop()}
        (page,) = all_of(account_of(pms, pictureURLPath=deep, descriptionPath=deep))
    assert [listing.pictures for listing in page.listings] == [(), (), ()]
