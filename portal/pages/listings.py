"""The listings page: a card with a switch for each integration, its accounts, and the listings.

The whole page is one live part, so the progress of syncs and copies is visible. Only admins may use the switches;
anybody may start a sync, since it changes no settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict
from urllib.parse import urlencode
from uuid import UUID

from flask import Blueprint, Response, redirect, render_template
from flask.typing import ResponseReturnValue
from htmx_flask import make_response

from portal.accounts.models import Workspace
from portal.listings import catalogue, counts, integrations, providers
from portal.listings.counts import Counts
from portal.listings.models import IntegrationAccount, IntegrationDefinition
from portal.listings.providers.base import Provider
from portal.listings.sync import passes
from portal.pages import live
from portal.pages.htmx import request
from portal.pages.session import admin_only, current_user, signed_in

PAGE = 50

blueprint = Blueprint("listings", __name__, url_prefix="/listings")


class Filters(TypedDict):
    """The page's filters and its position in the list."""

    provider: str | None
    state: str | None
    search: str
    after: str | None


@dataclass(frozen=True)
class Card:
    """A provider of a workspace: its switch, its accounts, and the counts of their listings."""

    provider: Provider
    definition: IntegrationDefinition
    accounts: list[IntegrationAccount]
    counts_by_account: Mapping[int, Counts]

    @property
    def slug(self) -> str:
        return self.provider.key.lower()

    @property
    def is_on(self) -> bool:
        return self.definition.enable_images_cdn

    @cached_property
    def counts(self) -> Counts:
        return counts.total([self.counts_by_account.get(account.id, Counts()) for account in self.accounts])

    @property
    def progress(self) -> float | None:
        """The progress of the running syncs, from 0 to 1, or None if it is unknown."""
        return passes.progress(self.accounts)

    @property
    def is_busy(self) -> bool:
        """Whether a sync is running or pictures are being copied."""
        return (self.is_on and self.counts.waiting > 0) or any(map(integrations.is_syncing, self.accounts))


blueprint.add_app_template_test(integrations.is_syncing, "syncing")


@blueprint.get("")
@signed_in
def overview() -> ResponseReturnValue:
    """Return the page; for htmx, its live part, or 304 if it has not changed."""
    if request.htmx:
        return live.fragment(render_template("listings/_live.html", **_page_data()))
    return render_template("listings/overview.html", **_page_data())


@blueprint.post("/integrations/<provider>/switch")
@admin_only
def switch(provider: str) -> ResponseReturnValue:
    """Switch a provider's Image CDN on or off."""
    definition = integrations.find_definition(current_user().workspace, provider)
    is_on, name = request.form.get("on") == "1", providers.ALL[definition.provider].name
    integrations.switch_image_cdn(current_user().workspace, definition.provider, enabled=is_on)
    if is_on:
        return _back(
            f"The Image CDN is on. Existing copies of {name}’s pictures are used now; the rest are being copied."
        )
    return _back(
        f"The Image CDN is off. {name}’s own links are used. The copies are kept in case you turn it on again."
    )


@blueprint.post("/accounts/<uuid:uuid>/sync")
@signed_in
def sync_account(uuid: UUID) -> ResponseReturnValue:
    integrations.sync_now(integrations.find_account(current_user().workspace, str(uuid)))
    return _back()


@blueprint.post("/sync")
@signed_in
def sync_all() -> ResponseReturnValue:
    """Sync all accounts, or those of the selected provider."""
    provider = _filters()["provider"]
    for account in integrations.all_accounts(current_user().workspace):
        if provider in (None, account.definition.provider.lower()):
            integrations.sync_now(account)
    return _back()


def _page_data() -> dict[str, object]:
    """Return the page's data, in a number of statements that does not depend on the number of listings."""
    workspace, here = current_user().workspace, _filters()
    cards = _cards(workspace)
    shown = next((card for card in cards if card.slug == here["provider"]), None)
    wanted = [shown] if shown else cards
    page = catalogue.page(workspace, limit=PAGE, **here)
    return {
        "cards": cards,
        "shown": shown,
        "all": counts.total([card.counts for card in wanted]),
        "on": counts.total(
            [card.counts for card in wanted if card.is_on]
        ),  # states are shown only while the Image CDN is on
        "listings": page.items,
        "names": {key: provider.name for key, provider in providers.ALL.items()},
        "covers": catalogue.covers(page.items),
        "next_url": _url(here, page.next_cursor) if page.next_cursor else None,
        "first_url": _url(here, None) if here["after"] else None,
        "url_of": url_of,
        **here,
    }


def _cards(workspace: Workspace) -> list[Card]:
    """Return a card per provider of a workspace, in the registry's order. Takes three statements in total."""
    accounts, counted = integrations.all_accounts(workspace), counts.by_account(workspace)
    definitions = {definition.provider: definition for definition in integrations.definitions(workspace)}
    return [
        Card(provider, definitions[key], [one for one in accounts if one.definition.provider == key], counted)
        for key, provider in providers.ALL.items()
        if key in definitions
    ]


def _filters() -> Filters:
    """Return the filters, from the URL or from hidden fields of the page's forms."""
    asked = request.values
    return {
        "provider": asked.get("provider", "").lower() or None,
        "state": asked.get("state") or None,
        "search": asked.get("q", "").strip(),
        "after": asked.get("after") or None,
    }


def url_of(provider: str | None = None, state: str | None = None, search: str = "", after: str | None = None) -> str:
    """Return the page's URL with these filters."""
    wanted = {"provider": provider, "state": state, "q": search, "after": after}
    query = urlencode({name: value for name, value in wanted.items() if value})
    return f"/listings?{query}" if query else "/listings"


def _url(here: Filters, after: str | None) -> str:
    return url_of(here["provider"], here["state"], here["search"], after)


def _back(message: str = "") -> Response:
    """Return the live part with a toast for htmx, otherwise redirect to the page of the button."""
    if not request.htmx:
        return make_response(redirect(url_of(**_filters()), 303))
    toast = {"toast": {"text": message}} if message else None
    return make_response(render_template("listings/_live.html", **_page_data()), trigger=toast)
