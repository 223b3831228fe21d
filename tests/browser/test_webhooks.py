"""Settings → Webhooks, with a real receiver at the other end: made, tried out, sent again, rotated, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update
from standardwebhooks import Webhook

from portal.db import db, now
from portal.infra import jobs
from portal.webhooks import endpoints
from portal.webhooks.models import Delivery, Endpoint
from portal.work import work
from tests.browser.conftest import at_work, becomes
from tests.factories import Person
from tests.outside import Outside, Reply, outside


@pytest.fixture
def replies() -> list[Reply]:
    """What the receiver answers, one after the other; then 200."""
    return []


@pytest.fixture
def receiver(app: Flask, replies: list[Reply]) -> Iterator[Outside]:
    """A customer's server, and the worker that calls it."""
    with outside(lambda _: replies.pop(0) if replies else Reply(body=b"thank you")) as host, at_work(jobs.WEBHOOKS):
        yield host


@pytest.fixture
def endpoint(alice: Person, receiver: Outside) -> Endpoint:
    return endpoints.create(alice.workspace, receiver.url, ["property.updated"])


@pytest.fixture
def settings_page(open_page: Callable[[str], Any]) -> Callable[..., Any]:
    """Alice's browser on the page of her webhooks, or of one of them."""
    return lambda endpoint=None: open_page("/settings/webhooks" + (f"/{endpoint.uuid}" if endpoint else ""))


def make(page: Any, url: str) -> str:
    """Make a webhook as an admin does; its secret."""
    page.get_by_text("New webhook").click()
    page.get_by_label("Address").fill(url)
    page.get_by_role("button", name="Create webhook").click()
    return str(page.locator("#secret").inner_text())


def test_a_webhook_is_made_and_tried_out(settings_page: Callable[..., Any], receiver: Outside) -> None:
    page = settings_page()
    secret = make(page, receiver.url)
    page.get_by_role("button", name=f"Send a test to {receiver.url}").click()
    page.locator("#webhook-rows", has_text="200 in").wait_for()
    assert page.locator("#secret").inner_text() == secret  # the list is live, the secret stays to be copied
    page.reload()
    assert page.locator("#webhook-rows .badge", has_text="On").is_visible()
    assert "whsec_" not in page.content()
    page.get_by_role("link", name=receiver.url).click()
    call = page.locator(".call")
    assert "Delivered" in call.inner_text()
    call.get_by_text("Request and answer").click()
    assert "thank you" in call.get_by_label("Answer").inner_text()
    (seen,) = receiver.seen
    assert Webhook(secret).verify(seen.body, seen.headers)["type"] == "webhook.test"


@pytest.mark.slow
def test_an_address_that_will_not_do_stays_as_typed(settings_page: Callable[..., Any], complaints: list[str]) -> None:
    page = settings_page()
    page.get_by_text("New webhook").click()
    page.get_by_label("Address").fill("nowhere")
    page.get_by_role("button", name="Create webhook").click()
    page.locator("#f-url-wrong").wait_for()
    assert page.get_by_label("Address").input_value() == "nowhere"
    assert page.get_by_label("Address").get_attribute("aria-invalid") == "true"
    complaints.clear()  # an answer with 422


@pytest.mark.slow
def test_what_did_not_arrive_is_sent_again(
    settings_page: Callable[..., Any], endpoint: Endpoint, receiver: Outside, replies: list[Reply]
) -> None:
    replies.append(Reply(500, b"out of order"))
    page = settings_page(endpoint)
    page.get_by_role("button", name="Send a test").click()
    call = page.locator(".call")
    call.get_by_text("Answered 500").wait_for()
    assert "Next try in" in call.inner_text()
    assert "Failing" in page.locator(".hook").inner_text()
    call.get_by_text("Request and answer").click()
    with work():
        db.session.execute(update(Delivery).values(next_at=now() + timedelta(hours=3)))
    call.get_by_text("Next try in 2 h").wait_for()  # what is open stays open while the page goes on
    assert "out of order" in call.get_by_label("Answer").inner_text()
    call.get_by_role("button", name="Send again").click()
    call.locator(".badge", has_text="Delivered").wait_for()
    assert "Answered 200" in call.inner_text()
    assert len(receiver.seen) == 2
    assert len({seen.headers["webhook-id"] for seen in receiver.seen}) == 1  # so that a receiver can tell


@pytest.mark.slow
def test_a_new_secret_signs_beside_the_old_one_and_is_shown_once(
    settings_page: Callable[..., Any], endpoint: Endpoint, receiver: Outside
) -> None:
    old = endpoint.secret
    page = settings_page(endpoint)
    page.get_by_role("button", name="New secret").click()
    new = page.locator("#secret").inner_text()
    page.get_by_role("button", name="Send a test").click()
    page.locator(".call .badge", has_text="Delivered").wait_for()
    for secret in (old, new):
        Webhook(secret).verify(receiver.seen[0].body, receiver.seen[0].headers)
    page.goto(f"/settings/webhooks/{endpoint.uuid}")
    assert "whsec_" not in page.content()
    assert "Calls are signed with two secrets" in page.locator("#secrets").inner_text()


@pytest.mark.slow
def test_a_webhook_is_switched_off_and_deleted(settings_page: Callable[..., Any], endpoint: Endpoint) -> None:
    page = settings_page(endpoint)
    page.get_by_role("button", name="Switch off").click()
    page.get_by_role("button", name="Switch on").wait_for()
    assert page.get_by_role("button", name="Send a test").count() == 0
    page.get_by_role("link", name="Delete webhook").click()
    page.get_by_role("link", name="Keep it").click()
    page.get_by_role("link", name="Delete webhook").click()
    page.get_by_role("button", name="Delete webhook").click()
    page.wait_for_url("**/settings/webhooks")
    assert "No webhooks yet" in page.locator("#webhook-rows").inner_text()


@pytest.mark.slow
def test_without_javascript_a_webhook_is_made_and_tried_out(
    tab: Callable[..., Any], sign_in: Callable[[Any, Person], None], alice: Person, receiver: Outside
) -> None:
    page = tab(java_script_enabled=False)
    sign_in(page, alice)
    page.goto("/settings/webhooks")
    secret = make(page, receiver.url)
    page.get_by_role("button", name=f"Send a test to {receiver.url}").click()
    assert becomes(page, lambda: len(receiver.seen), 1) == 1
    page.reload()
    assert "webhook.test" in page.locator(".call").inner_text()
    Webhook(secret).verify(receiver.seen[0].body, receiver.seen[0].headers)
