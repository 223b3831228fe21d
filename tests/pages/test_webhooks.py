"""Settings → Webhooks: create, change, test, disable, rotate and delete; and what was sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from portal.db import db, now
from portal.webhooks import delivery, endpoints, events
from portal.webhooks.models import Delivery, Endpoint
from portal.work import work
from tests.factories import Person
from tests.outside import Reply, outside
from tests.pages.conftest import HTMX

SECRET = re.compile(r'<code id="secret">([^<]+)</code>')
HOOK = {"url": "https://example.com/hooks", "events": ["property.updated"]}


@pytest.fixture
def endpoint(alice: Person) -> Endpoint:
    return endpoints.create(alice.workspace, "https://example.com/hooks", ["property.updated"])


def called(endpoint: Endpoint, *statuses: int) -> list[Delivery]:
    """Deliveries that were tried once, with those answers; failed ones were given up."""
    made = []
    for status in statuses:
        with work() as w:
            one = events.send(w, endpoint, events.TEST, {"message": "This is a test."})
            one.state, one.next_at = ("delivered" if status == 200 else "failed"), None
            one.attempts, one.status, one.answer, one.took_ms, one.last_at = 1, status, "said so", 84, now()
        made.append(one)
    return made


def where(endpoint: Endpoint) -> str:
    return f"/settings/webhooks/{endpoint.uuid}"


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_new_webhook_shows_its_secret_once(alice: Person, headers: dict[str, str]) -> None:
    browser = alice.browser()
    answer = browser.post("/settings/webhooks", data=HOOK, headers=headers)
    made = db.session.scalars(select(Endpoint)).one()
    assert SECRET.findall(answer.text) == [made.secret]
    assert (made.url, made.events, made.workspace_id) == (HOOK["url"], HOOK["events"], alice.workspace.id)
    assert answer.headers["Cache-Control"] == "private, no-store"
    for path in ("/settings/webhooks", where(made)):
        page = browser.get(path).text
        assert "https://example.com/hooks" in page and "whsec_" not in page


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"url": ""}, "url"),
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": "http://2130706433/"}, "url"),
        ({"url": "https://example.com/" + "x" * 2048}, "url"),
        ({"events": []}, "events"),
        ({"events": ["photo.eaten"]}, "events"),
    ],
)
def test_errors_are_shown_at_their_field_and_typed_text_stays(
    alice: Person, endpoint: Endpoint, wrong: dict[str, str], field: str
) -> None:
    browser, typed = alice.browser(), {**HOOK, "url": "https://typed.example/", **wrong}
    for path, headers in (("/settings/webhooks", HTMX), ("/settings/webhooks", {}), (where(endpoint), {})):
        answer = browser.post(path, data=typed, headers=headers)
        assert answer.status_code == 422, path
        assert f'id="f-{field}-wrong"' in answer.text and 'aria-invalid="true"' in answer.text
        assert f'value="{typed["url"]}"' in answer.text
    db.session.rollback()
    assert [one.url for one in db.session.scalars(select(Endpoint))] == ["https://example.com/hooks"]


def test_one_webhook_too_many_is_refused(alice: Person) -> None:
    for number in range(endpoints.MAX_ENDPOINTS):
        endpoints.create(alice.workspace, f"https://example.com/{number}", ["property.updated"])
    answer = alice.browser().post("/settings/webhooks", data=HOOK, headers=HTMX)
    assert answer.status_code == 422 and "at most 20 webhooks" in answer.text


def test_the_list_shows_the_last_calls_as_bars(alice: Person, endpoint: Endpoint) -> None:
    called(endpoint, *[200] * 15, *[500] * 3, *[200] * 4)
    page = alice.browser().get("/settings/webhooks", headers=HTMX).text
    assert page.startswith('<div id="webhook-rows"')
    assert 'aria-label="Last 20 calls, 3 failed"' in page
    assert page.count("<i></i>") == 17 and page.count('<i data-s="fail"></i>') == 3
    assert "200 in 84 ms" in page


def test_a_failing_or_disabled_webhook_says_so(alice: Person, endpoint: Endpoint) -> None:
    called(endpoint, 500)
    with work():
        endpoint.failing_since = now() - timedelta(hours=3)
    browser = alice.browser()
    for path in ("/settings/webhooks", where(endpoint)):
        assert "Failing for 3 h" in browser.get(path).text
    with work():
        endpoint.disabled_at, endpoint.disabled_reason = now(), "All deliveries failed for 5 days."
    for path in ("/settings/webhooks", where(endpoint)):
        page = browser.get(path).text
        assert "All deliveries failed for 5 days." in page and "Switch on" in page and "Send again" not in page
    assert browser.post(f"{where(endpoint)}/switch", data={"on": "1"}).location == where(endpoint)
    assert (endpoint.disabled_at, endpoint.failing_since) == (None, None)
    answer = browser.post(f"{where(endpoint)}/switch", headers=HTMX)
    assert endpoint.disabled_at and "Switched off manually." in answer.text


def test_a_test_appears_and_its_result_follows(alice: Person, work_off: Callable[[], int]) -> None:
    browser = alice.browser()
    with outside(lambda _: Reply(body=b"thanks <b>a lot</b>")) as receiver:
        endpoint = endpoints.create(alice.workspace, f"{receiver.url}/hooks", ["property.updated"])
        answer = browser.post(f"{where(endpoint)}/test", headers=HTMX)
        assert answer.text.startswith('<div id="webhook-live"') and "On its way" in answer.text
        seen = browser.get(where(endpoint), headers=HTMX)
        tag = {"HX-PTag": seen.headers["HX-PTag"], **HTMX}
        assert browser.get(where(endpoint), headers=tag).status_code == 304
        work_off()
    finished = browser.get(where(endpoint), headers=tag)
    assert finished.status_code == 200
    for words in ("Delivered", "Answered 200 in", "1 attempt", "This is a test.", "thanks &lt;b&gt;a lot&lt;/b&gt;"):
        assert words in finished.text
    assert '<span class="badge" data-s="live"><i aria-hidden="true"></i>On</span>' in finished.text


def test_a_test_from_the_list_returns_the_list(alice: Person, endpoint: Endpoint) -> None:
    headers = {**HTMX, "HX-Target": "div#webhook-rows"}
    answer = alice.browser().post(f"{where(endpoint)}/test", headers=headers)
    assert answer.text.startswith('<div id="webhook-rows"')


def test_a_failed_delivery_is_sent_again(alice: Person, bob: Person, endpoint: Endpoint) -> None:
    (one,) = called(endpoint, 500)
    for person in (alice, bob):
        with work():
            one.state, one.attempts = "failed", 8
        answer = person.browser().post(f"{where(endpoint)}/deliveries/{one.uuid}/send-again", data={"state": "failed"})
        assert answer.location == f"{where(endpoint)}?state=failed"
        assert (one.state, one.attempts) == ("pending", 0)


def test_nothing_is_resent_to_a_disabled_webhook(alice: Person, endpoint: Endpoint) -> None:
    (one,) = called(endpoint, 500)
    endpoints.update(endpoint, enabled=False)
    answer = alice.browser().post(f"{where(endpoint)}/deliveries/{one.uuid}/send-again", headers=HTMX)
    assert answer.status_code == 409 and "Switch it on first" in answer.headers["HX-Trigger"]
    assert one.state == "failed"


def test_deliveries_are_filtered_and_paged(alice: Person, endpoint: Endpoint) -> None:
    called(endpoint, *[200] * 31, 500)
    endpoints.send_test(endpoint)
    browser = alice.browser()
    first = browser.get(where(endpoint)).text
    assert first.count('<li class="call"') == 30
    link = first.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
    assert browser.get(link).text.count('<li class="call"') == 3
    for state in ("failed", "pending"):
        assert browser.get(f"{where(endpoint)}?state={state}").text.count('<li class="call"') == 1
    assert browser.get(f"{where(endpoint)}?state=lost").status_code == 422
    assert browser.get(f"{where(endpoint)}?after=x").status_code == 422


def test_rotating_shows_the_new_secret_once_and_both_sign(alice: Person, endpoint: Endpoint) -> None:
    browser, old = alice.browser(), endpoint.secret
    answer = browser.post(f"{where(endpoint)}/rotate")
    assert SECRET.findall(answer.text) == [endpoint.secret]
    assert endpoint.secrets == [endpoint.secret, old]
    assert "For 24 hours, calls are signed with both secrets" in answer.text and old not in answer.text
    page = browser.get(where(endpoint)).text
    assert "the old one expires in 23 h" in page and endpoint.secret not in page


def test_a_webhook_is_changed(alice: Person, endpoint: Endpoint) -> None:
    answer = alice.browser().post(where(endpoint), data={**HOOK, "url": "https://other.example/in"})
    assert (answer.status_code, answer.location) == (303, where(endpoint))
    assert endpoint.url == "https://other.example/in"


def test_a_webhook_is_deleted_with_its_deliveries_after_confirmation(alice: Person, endpoint: Endpoint) -> None:
    called(endpoint, 200)
    browser, path = alice.browser(), f"{where(endpoint)}/delete"
    assert "Delete this webhook?" in browser.get(path).text
    assert browser.post(path).location == "/settings/webhooks"
    assert db.session.scalar(select(func.count()).select_from(Delivery)) == 0
    assert browser.get(path).status_code == 404


def test_bob_can_look_but_not_manage(bob: Person, endpoint: Endpoint) -> None:
    called(endpoint, 500)
    browser = bob.browser()
    table, page = browser.get("/settings/webhooks").text, browser.get(where(endpoint)).text
    assert "https://example.com/hooks" in table and "New webhook" not in table and ">Test<" not in table
    assert "Answered 500" in page and "Send again" in page
    for word in ("Send a test", "Switch off", "New secret", "Save", "Delete webhook", "whsec_"):
        assert word not in page


def test_a_delivery_of_alices_is_not_found_under_charlies_webhook(
    alice: Person, charlie: Person, endpoint: Endpoint
) -> None:
    (hers,) = called(endpoint, 500)
    own = endpoints.create(charlie.workspace, "https://corvid.example/", ["property.updated"])
    answer = charlie.browser().post(f"{where(own)}/deliveries/{hers.uuid}/send-again")
    assert answer.status_code == 404
    assert hers.state == "failed"


def test_the_number_of_statements_does_not_grow_with_the_webhooks(
    alice: Person, endpoint: Endpoint, statements: Callable[..., int]
) -> None:
    called(endpoint, 200)
    browser = alice.browser()
    paths = ("/settings/webhooks", where(endpoint))
    few = [statements(browser.get, path) for path in paths]
    for number in range(4):
        called(endpoints.create(alice.workspace, f"https://example.com/{number}", ["property.updated"]), 200, 500)
    called(endpoint, *[200, 500] * 5)
    assert [statements(browser.get, path) for path in paths] == few


def test_a_delivery_without_a_response_says_why(alice: Person, endpoint: Endpoint) -> None:
    (one,) = called(endpoint, 500)
    with work():
        db.session.execute(update(Delivery).values(status=None, answer="It can't be reached.", state="pending"))
        db.session.execute(update(Delivery).values(next_at=now() + timedelta(minutes=5, seconds=30)))
    page = alice.browser().get(where(endpoint)).text
    assert "It can&#39;t be reached. · 1 attempt" in page and "Next try in 5 min" in page
    assert delivery.DEADLINE_S == 15 and one


def test_a_delivery_read_while_in_flight_is_redrawn_with_its_response(alice: Person, endpoint: Endpoint) -> None:
    """Its details are kept as long as they have the same id, so that what is open stays open."""
    called(endpoint, 500)
    details = re.compile(r'<details id="([^"]+)"[^>]*><summary>([^<]+)')
    (answered,) = details.findall(alice.browser().get(where(endpoint)).text)
    with work():
        db.session.execute(update(Delivery).values(status=None, answer=None, took_ms=None))
    (asked,) = details.findall(alice.browser().get(where(endpoint)).text)
    assert (asked[1], answered[1]) == ("Request", "Request and answer")
    assert asked[0] != answered[0]
