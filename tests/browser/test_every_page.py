"""Every page: no horizontal scrolling, no accessibility barrier that axe finds, and a small weight."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portal import inventory
from portal.accounts import access
from portal.accounts.models import Workspace
from portal.db import db
from portal.images import gallery, imports, properties
from portal.images.models import FAILED, Image, Property
from portal.infra import storage
from portal.pages import assets
from portal.work import work
from tests import factories
from tests.browser import furnished
from tests.browser.pages import finished
from tests.factories import Person

HERE = Path(__file__).parent
STATIC = HERE.parents[1] / "static"
AXE = (HERE / "vendor" / "axe-4.14.1.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS = {390: 844, 834: 1112, 1440: 900}  # px
AT_REST = """Promise.allSettled(document.getAnimations().filter((animation) =>
  animation.effect.getComputedTiming().endTime < Infinity).map((animation) => animation.finished))"""
WHOLE = "html"  # everything in a state is new
ALWAYS = (
    "gallery",
    "select",
    "import",
    "photo",
    "properties",
    "jobs",
    "settings",
    "storage",
)  # checked by default, too
LOOKS = [  # theme; whether each state is checked as a whole in each width, or only what is new in it in one
    pytest.param("light", False, id="light"),
    *(
        pytest.param(theme, True, id=f"{theme}, all", marks=[pytest.mark.slow, pytest.mark.timeout(400)])
        for theme in ("light", "dark")
    ),
]

JS_BUDGET, CSS_BUDGET, HTML_BUDGET = 30 * 1024, 14 * 1024, 12 * 1024  # bytes, gzipped
FONT_BUDGET, ICONS_BUDGET = 32 * 1024, 4 * 1024


@pytest.fixture
def rooms(home: Property) -> Property:
    """A gallery with every kind of photo: described, not described, failed, and without its original."""
    images = finished(home, *[f"room {number}.jpg" for number in range(6)], size=(600, 400))
    gallery.describe(home, str(images[0].uuid), "House and lawn at dusk")
    with work():
        failed = db.session.get_one(Image, images[3].id)
        failed.variants, failed.failure_reason = FAILED, "The file is damaged and can't be opened."
        inventory.mark(storage.uploads, {images[0].original_key: inventory.MISSING})
    return home


def found_by_axe(page: Any, theme: str = "light", part: str = WHOLE) -> list[str]:
    """Barriers found by axe; in the dark only those of colour, as everything else is the same page."""
    if not page.evaluate("!!window.axe"):
        page.evaluate(AXE)
    rules = TAGS if theme == "light" else ["color-contrast"]
    page.evaluate(AT_REST)
    found = page.evaluate(
        "([part, rules]) => axe.run(part, { runOnly: rules, resultTypes: ['violations'] })", [part, rules]
    )
    return [f"{v['id']}: {n['target']} {n['failureSummary']}" for v in found["violations"] for n in v["nodes"]]


def scrolls_sideways(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def resize(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": WIDTHS[width]})


def barriers(page: Any, theme: str, part: str | None) -> list[str]:
    """Barriers in each width, or in this part of a wide page; horizontal scrolling is one too."""
    found = []
    for width in [1440] if part else WIDTHS:
        resize(page, width)
        page.evaluate("scrollTo(0, 0)")  # a target half under a sticky bar isn't a small one
        found += [f"{width} px: {barrier}" for barrier in found_by_axe(page, theme, part or WHOLE)]
        found += [f"{width} px: scrolls sideways"] if scrolls_sideways(page) else []
    if part == WHOLE:
        resize(page, 390)
        found += ["390 px: scrolls sideways"] if scrolls_sideways(page) else []
    resize(page, 1440 if part else 390)
    return found


def nothing(page: Any) -> None: ...


def open_photo(page: Any) -> None:
    page.locator("#photos a.shot").first.click()
    page.locator("#photo .viewer").wait_for()


def refuse(page: Any) -> None:
    page.locator("[data-upload-input]").set_input_files(
        {"name": "plan.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7"}
    )
    page.locator(".tile.up[data-s=err]").wait_for()


def help_list(page: Any) -> None:
    page.keyboard.press("?")
    page.locator("#help").wait_for()


def select(page: Any) -> None:
    for nth in (1, 2):
        page.locator("#photos .pick input").nth(nth).check()


def menu(page: Any) -> None:
    page.locator("#photos .tile").nth(1).hover()
    page.locator("#photos .more").nth(1).click()


def position(page: Any) -> None:
    menu(page)
    page.get_by_role("menuitem", name="Move to position").click()


def carry(page: Any) -> None:
    page.locator("#photos a.shot").nth(4).focus()
    page.keyboard.press("m")


def toast(page: Any) -> None:
    carry(page)
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.locator(".toast").wait_for()
    page.keyboard.press("Control+z")
    page.keyboard.press("c")


def paste(page: Any) -> None:
    page.locator("[data-action=import]:visible").first.click()
    page.get_by_role("button", name="Import", exact=True).click()
    page.locator("#import .wrong").wait_for()


def open_details(page: Any) -> None:
    for summary in page.locator("#jobs summary").all():
        summary.click()


STATES: dict[
    str, tuple[str, Callable[[Any], None], str]
] = {  # the address, how to reach the state, and what is new in it
    "gallery": ("/properties/{rooms}/photos", nothing, WHOLE),
    "select": ("/properties/{rooms}/photos", select, ".bulk"),
    "menu": ("/properties/{rooms}/photos", menu, "#tile-menu"),
    "position": ("/properties/{rooms}/photos", position, "#moveto"),
    "import": ("/properties/{rooms}/photos", paste, "#import"),
    "help": ("/properties/{rooms}/photos", help_list, "#help"),
    "photo": ("/properties/{rooms}/photos", open_photo, "#photo"),
    "toast": ("/properties/{rooms}/photos", toast, "#toasts"),
    "refused": ("/properties/{rooms}/photos", refuse, "#uploads, .tile.up"),
    "carry": ("/properties/{rooms}/photos", carry, WHOLE),
    "undescribed": ("/properties/{rooms}/photos?f=alt", nothing, WHOLE),
    "importing": ("/properties/{importing}/photos", nothing, "#imports"),
    "empty": ("/properties/{empty}/photos", nothing, WHOLE),
    "properties": ("/properties", nothing, WHOLE),
    "property": ("/properties/{rooms}/edit", nothing, "main"),
    "jobs": ("/jobs", nothing, WHOLE),
    "failed": ("/jobs?state=failed", open_details, "#jobs"),
    "settings": ("/settings/plan-and-keys", nothing, WHOLE),
    "people": ("/settings/people", nothing, "main"),
    "storage": ("/settings/storage", nothing, "main"),
    "missing": ("/nowhere", nothing, WHOLE),
}


@pytest.mark.parametrize(("theme", "is_thorough"), LOOKS)
def test_no_page_or_state_has_an_accessibility_barrier(
    tab: Callable[..., Any],
    sign_in: Callable[[Any, Person], None],
    alice: Person,
    rooms: Property,
    theme: str,
    is_thorough: bool,
    complaints: list[str],
) -> None:
    """Each page and state."""
    empty = properties.create(db.session.get_one(Workspace, alice.workspace.id), {"name": "Larch Cabin"})
    importing = factories.home_of(db.session.get_one(Workspace, alice.workspace.id), "Quay Loft")
    imports.start(importing, ["https://photos.example/1.jpg"] * 2)
    furnished.synced(db.session.get_one(Workspace, alice.workspace.id))
    furnished.staffed()
    furnished.audited(rooms)
    page = tab(color_scheme=theme)
    resize(page, 390 if is_thorough else 1440)
    sign_in(page, alice)
    found, before = [], ""
    for state, (path, act, part) in STATES.items():
        if state not in ALWAYS and not is_thorough:
            continue
        if path == before and not is_thorough:
            page.keyboard.press("Escape")  # leaves the last state
        else:
            page.goto(path.format(rooms=rooms.uuid, empty=empty.uuid, importing=importing.uuid))
        before = path
        act(page)
        found += [f"{state} at {barrier}" for barrier in barriers(page, theme, None if is_thorough else part)]
    assert found == []
    # Some states show a refusal; a resized window fetches another size than was preloaded.
    meant = ("status of 4", "preloaded using link preload")
    complaints[:] = [said for said in complaints if not any(word in said for word in meant)]


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_the_sign_in_page_is_accessible(tab: Callable[..., Any], alice: Person, theme: str) -> None:
    page = tab(color_scheme=theme, viewport={"width": 390, "height": 844})
    link = f"/sign-in/link?token={access.create_sign_in_link(alice.user)}"
    for path in ("/sign-in", link):
        page.goto(path)
        assert not scrolls_sideways(page)
        assert found_by_axe(page) == []
    page.locator("main form button").click()
    page.wait_for_url("**/properties")


def test_the_assets_of_a_page_stay_small() -> None:
    def packed(*names: str) -> int:
        return sum(len(gzip.compress((STATIC / name).read_bytes(), 9)) for name in names)

    modules = ("app", "gallery", "grid", "order", "drag", "select", "menu", "refresh", "uploader", "tray")
    served = [assets.minified((STATIC / "js" / f"{name}.js").read_text()) for name in modules]
    own = sum(len(gzip.compress(module.encode(), 9)) for module in served)
    assert packed("vendor/htmx-4.0.1.min.js") + own <= JS_BUDGET  # what the heaviest page loads
    styles = assets.stylesheet(STATIC / "css" / "app.css")
    assert len(gzip.compress(styles.encode(), 9)) <= CSS_BUDGET
    assert packed("icons.svg") <= ICONS_BUDGET
    assert (STATIC / "font" / "instrument-sans-latin-wght-normal.woff2").stat().st_size <= FONT_BUDGET


def test_a_page_of_24_photos_stays_small(alice: Person, home: Property) -> None:
    with work():
        db.session.get_one(Workspace, alice.workspace.id).plan_name = "pro"
    for number, image in enumerate(finished(home, *[f"DSC_{n}.jpg" for n in range(24)], size=(1600, 1067))):
        gallery.describe(home, str(image.uuid), f"Room {number} with a view of the garden and the lake")
    html = alice.browser().get(f"/properties/{home.uuid}/photos").data
    assert len(gzip.compress(html, 9)) <= HTML_BUDGET


def test_nothing_is_loaded_from_elsewhere_and_static_files_are_cached_forever(
    editor: Callable[[Property], Any], rooms: Property, live: str
) -> None:
    page = editor(rooms)
    asked: list[str] = []
    answers: dict[str, str] = {}
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: answers.update({answer.url: answer.headers.get("cache-control", "")}))
    page.reload(wait_until="networkidle")
    assert asked
    assert [url for url in asked if not url.startswith((live, "data:", "blob:"))] == []
    static = {url: said for url, said in answers.items() if "/static/" in url}
    assert len(static) > 5
    assert set(static.values()) == {"public, max-age=31536000, immutable"}
