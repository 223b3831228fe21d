"""/api/docs in a browser: it works from our own files alone, under a policy that allows nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.factories import Person


@pytest.fixture
def asked(page: Any, live: str) -> Iterator[list[str]]:
    """What the page asks for: nobody but us, and without a cookie."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield asked
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {live.split("/")[2]}
    assert page.context.cookies() == []


@pytest.mark.slow
@pytest.mark.usefixtures("asked")
def test_every_call_can_be_read(page: Any) -> None:
    page.goto("/api/docs")
    page.get_by_text("Get a presigned upload URL for one file.").click()
    page.get_by_text("living-room.jpg").first.wait_for()  # the contract's example


@pytest.mark.slow
@pytest.mark.usefixtures("asked")
def test_a_call_is_tried_with_a_key(page: Any, alice: Person) -> None:
    page.goto("/api/docs")
    page.locator("button.authorize").first.click()
    page.get_by_label("Value").or_(page.locator(".auth-container input")).first.fill(alice.key)
    page.locator(".auth-btn-wrapper button[type=submit]").click()
    page.locator(".btn-done").click()
    page.get_by_text("Get the plan's limits and current usage.").click()
    page.get_by_role("button", name="Try it out").last.click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table .response-col_status", has_text="200").wait_for()
