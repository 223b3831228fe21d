"""Every route of the pages: foreign equals absent, no page without a session, GET changes nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.db import db
from portal.images.models import Property
from tests.buckets import Buckets
from tests.factories import Person, home_of, photo_in
from tests.pages import routes
from tests.pages.conftest import HTMX
from tests.pages.routes import Things

ADMINS = {
    *("settings.create_key", "settings.revoke_key", "settings.add_person", "settings.link_person"),
    *("webhooks.create", "webhooks.update", "webhooks.switch", "webhooks.rotate", "webhooks.send_test"),
    *("webhooks.confirm_delete", "webhooks.delete"),
    "storage.page",
    *("integrations.choose", "integrations.connect_form", "integrations.connect", "listings.switch"),
    *("integrations.edit_form", "integrations.edit", "integrations.confirm_remove", "integrations.remove"),
}
HREF = re.compile(r'(?:href|action|hx-get)="([/?][^"]*)"')


def dump() -> list[tuple[Any, ...]]:
    """All rows of all tables."""
    db.session.rollback()
    return [tuple(row) for table in db.metadata.sorted_tables for row in db.session.execute(select(table))]


def seen(response: TestResponse) -> tuple[Any, ...]:
    headers = sorted((name, value) for name, value in response.headers if name not in ("Date", "X-Request-Id"))
    return response.status, headers, response.data


def test_charlie_finds_nothing_of_alices(
    app: Flask, alice: Person, charlie: Person, home: Property, buckets: Buckets
) -> None:
    alices = Things.of(alice, home, photo_in(home))
    own_home = home_of(charlie.workspace, "Corvid House")
    own = Things.of(charlie, own_home, photo_in(own_home))
    browser = charlie.browser()
    before, stored = dump(), buckets.listing()
    tried = 0
    for route in routes.of(app):
        if not route.rule.arguments or route.is_dashboard:
            continue
        gone = Things.nobodys()
        mixed = [  # all of hers; hers containing his; his containing hers
            (alices, gone),
            (replace(own, **alices.parents), replace(own, **gone.parents)),
            (replace(alices, **own.parents), replace(gone, **own.parents)),
        ]
        for foreign, absent in mixed:
            if own.path(route.rule) in (foreign.path(route.rule), absent.path(route.rule)):
                continue
            for headers in ({}, HTMX):
                answers = [
                    seen(browser.open(things.path(route.rule), method=route.method, headers=headers))
                    for things in (foreign, absent)
                ]
                assert answers[0] == answers[1], str(route)
                assert answers[0][0].startswith("404"), str(route)
                tried += 1
    assert tried > 30
    assert (dump(), buckets.listing()) == (before, stored)


def test_charlies_pages_reveal_nothing_of_alice(app: Flask, alice: Person, charlie: Person, home: Property) -> None:
    photo_in(home, name="alices-secret.jpg")
    browser = charlie.browser()
    marks = ("Alma", "alma", "Alice", "Alder", "secret.jpg", str(home.uuid), str(alice.user.uuid), alice.key[:12])
    for route in routes.of(app):
        if route.rule.arguments or route.method != "GET" or route.is_dashboard:
            continue
        for headers in ({}, HTMX):
            for query in ("", "?q=a", "?q=Alder", f"?q={home.uuid}"):
                answer = browser.get(route.rule.rule + query, headers=headers, follow_redirects=True)
                text = answer.text.replace(query.removeprefix("?q="), "") if query else answer.text
                assert not [mark for mark in marks if mark in text], f"{route}{query}"


def test_without_a_session_there_is_no_page(app: Flask, alice: Person, home: Property) -> None:
    things = Things.of(alice, home, photo_in(home))
    browser = app.test_client()
    before = dump()
    for route in routes.of(app):
        if route.is_public:
            continue
        path = things.path(route.rule)
        for cookie in ("", "frontage=nonsense"):
            answer = browser.open(path, method=route.method, headers={"Cookie": cookie})
            assert answer.status_code == 303, str(route)
            assert answer.location.startswith("/sign-in?next="), str(route)
            answer = browser.open(path, method=route.method, headers={"Cookie": cookie, **HTMX})
            assert answer.status_code == 401, str(route)
            assert answer.headers["HX-Redirect"].startswith("/sign-in?next="), str(route)
    assert dump() == before


def test_bob_is_forbidden_what_only_admins_may_do(app: Flask, alice: Person, bob: Person, home: Property) -> None:
    browser = bob.browser()
    things = Things.of(alice, home, photo_in(home))
    mine = [route for route in routes.of(app) if route.is_dashboard or route.rule.endpoint in ADMINS]
    before = dump()
    for route in mine:
        answer = browser.open(things.path(route.rule), method=route.method, data={"name": "x", "email": "x@y.zz"})
        assert answer.status_code == 403, str(route)
    assert len(mine) > 15
    assert dump() == before


def test_opening_every_link_changes_nothing(app: Flask, alice: Person, home: Property, buckets: Buckets) -> None:
    """Crawl all links and all GET routes as a signed-in person."""
    things = Things.of(alice, home, photo_in(home))
    browser = alice.browser()
    before, stored = dump(), buckets.listing()
    waiting = [things.path(r.rule) for r in routes.of(app) if r.method == "GET" and not r.is_dashboard]
    waiting += ["/sign-in/link?token=abc"]
    known = set(waiting)
    while waiting:
        path = waiting.pop()
        for headers in ({}, HTMX):
            answer = browser.get(path, headers=headers)
            assert answer.status_code < 500, path
            links = HREF.findall(answer.text) + ([answer.location] if answer.location else [])
            fresh = {urljoin(path, link.replace("&amp;", "&")).partition("#")[0] for link in links} - known
            fresh = {link for link in fresh if not link.startswith(("/static/", "/rq"))}
            known |= fresh
            waiting += fresh
    assert len(known) > 15
    assert (dump(), buckets.listing()) == (before, stored)
