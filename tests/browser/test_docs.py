"""/api/docs in a browser: it works from our own files alone, under a policy that allows nothing else."""

from __future__ import annotations

from typing import Any

from tests.factories import Person


def test_every_call_can_be_read_and_tried_with_a_key(page: Any, live: str, alice: Person) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/api/docs")
    page.get_by_text("Get a presigned URL for one file.").click()
    page.get_by_text("living-room.jpg").first.wait_for()  # the contract's example

    page.locator("button.authorize").first.click()
    page.get_by_label("Value").or_(page.locator(".auth-container input")).first.fill(alice.key)
    page.locator(".auth-btn-wrapper button[type=submit]").click()
    page.locator(".btn-done").click()
    page.get_by_text("See what the plan allows, and what is used of it.").click()
    page.get_by_role("button", name="Try it out").last.click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table .response-col_status", has_text="200").wait_for()
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {live.split("/")[2]}
    assert page.context.cookies() == []
