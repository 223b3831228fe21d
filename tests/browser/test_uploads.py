"""Photos are uploaded from a browser into the gallery."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portal.accounts.models import Workspace
from portal.accounts.plans import PLANS, Plan
from portal.db import db
from portal.images import gallery
from portal.images.models import Property
from portal.images.uploads import MAX_SIZE_BYTES
from portal.work import work
from tests import factories
from tests.browser.pages import Editor, becomes, finished, go_on, hurry
from tests.conftest import Buckets
from tests.factories import Person
from tests.processes import until

pytestmark = pytest.mark.usefixtures("hurried")
FINISHED = "#photos .tile:not(.up):not([data-s])"
LOADED = "img => img.decode().then(() => img.naturalWidth)"


@pytest.fixture
def own_tab(tab: Callable[..., Any]) -> Any:
    """A tab with a private profile, for a clock or a network of its own."""
    page = tab()
    hurry(page)
    return page


def add(page: Any, *files: dict[str, Any] | Path) -> None:
    page.locator("[data-upload-input]").set_input_files(list(files))


def jpeg(name: str = "photo.jpg", size: tuple[int, int] = (640, 480)) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/jpeg", "buffer": factories.jpeg(*size)}


def names(home: Property) -> list[str]:
    db.session.rollback()  # end the transaction, to read fresh rows
    return [image.file_name for image in gallery.images(home)]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    "files",
    [
        pytest.param(["w1_real_1mp_lossless.webp", "c1_cmyk_swop.jpg"], id="two"),
        pytest.param(
            [
                "j13_s90_10mp.jpg",
                "j16_iphone4s_8mp_or6.jpg",
                "h2_iphone_12mp_gps.heic",
                "p1_real_3mp.png",
                "w1_real_1mp_lossless.webp",
            ],
            id="five",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_uploaded_photos_become_finished_tiles(
    editor: Editor, home: Property, photo: Callable[[str], bytes], tmp_path: Path, files: list[str]
) -> None:
    page = editor(home)
    for name in files:
        (tmp_path / name).write_bytes(photo(name))
    add(page, *[tmp_path / name for name in files])
    page.locator(FINISHED).nth(len(files) - 1).wait_for(timeout=60_000)
    assert names(home) == files
    assert all(shown.evaluate(LOADED) > 0 for shown in page.locator(f"{FINISHED} img").all())
    assert page.locator("#tray").get_attribute("hx-trigger") == "slow-tick from:body"  # polling pauses
    assert page.locator("#photos [data-cover]").count() == 1
    assert page.locator(".tile.up").count() == 0
    assert page.locator("#uploads").is_hidden()


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_a_preview_appears_before_the_first_response(editor: Editor, home: Property) -> None:
    page = editor(home)
    held: list[Any] = []
    page.route("**/uploads", lambda route: held.append(route))
    add(page, jpeg("hall.jpg"))
    preview = page.locator(".tile.up img")
    preview.wait_for()
    assert preview.evaluate(LOADED) == 640
    held[0].continue_()
    page.locator(FINISHED).wait_for()


@pytest.mark.usefixtures("worker")
def test_an_upload_recovers_from_a_broken_connection_by_itself(
    editor: Editor, own_tab: Any, home: Property, complaints: list[str]
) -> None:
    page = editor(home, on=own_tab)
    page.clock.install()
    broken: list[str] = []

    def break_the_first(route: Any) -> None:
        if route.request.method == "PUT" and not broken:
            broken.append(route.request.url)
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/frontage-uploads/**", break_the_first)
    add(page, jpeg("one.jpg"), jpeg("two.jpg"))
    page.locator(".tile.up", has_text="Trying again, 2 of 4").wait_for()
    page.clock.run_for(2_000)
    page.locator(FINISHED).nth(1).wait_for()
    assert len(broken) == 1
    assert names(home) == ["one.jpg", "two.jpg"]
    complaints.clear()  # Chromium reports the connection that the test broke


def test_a_confirm_that_is_refused_as_too_many_is_repeated_by_itself(
    editor: Editor, own_tab: Any, home: Property, complaints: list[str]
) -> None:
    page = editor(home, on=own_tab)
    page.clock.install()
    busy = {"error": "too_many_requests", "title": "Could not add the photo", "text": "Try again in a moment."}
    page.route("**/uploads/confirm", lambda route: route.fulfill(status=429, json=busy), times=1)
    add(page, jpeg("one.jpg"))
    page.locator(".tile.up", has_text="Trying again, 2 of 4").wait_for()
    page.clock.run_for(6_000)
    until(lambda: names(home) == ["one.jpg"])
    complaints.clear()  # Chromium reports the status


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_a_permanent_failure_says_so_and_can_be_retried(
    editor: Editor, own_tab: Any, home: Property, complaints: list[str]
) -> None:
    page = editor(home, on=own_tab)
    page.clock.install()
    page.route("**/frontage-uploads/**", lambda route: route.abort("connectionreset"))
    add(page, jpeg("hall.jpg"))
    failed = page.locator(".tile.up[data-s=err]")
    for _ in range(12):
        page.clock.run_for(6_000)
        page.wait_for_timeout(50)
        if failed.count():
            break
    assert "Connection dropped" in failed.inner_text()
    assert "Nothing was lost" in page.locator("#uploads").inner_text()
    page.unroute("**/frontage-uploads/**")
    page.clock.resume()
    failed.get_by_role("button", name="Try again").click()
    page.locator(FINISHED).wait_for()
    assert names(home) == ["hall.jpg"]
    complaints.clear()


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_each_refusal_has_its_message_and_stops_no_other_file(
    editor: Editor, home: Property, tmp_path: Path, complaints: list[str]
) -> None:
    page = editor(home)
    files = {
        "plan.pdf": b"%PDF-1.7",
        "wide.jpg": b"\xff" * (MAX_SIZE_BYTES + 1),
        "none.jpg": b"",
        "text.jpg": b"not a photo at all",
        "good.jpg": factories.jpeg(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)  # a file of that size isn't sent to the browser first
    add(page, *[tmp_path / name for name in files])
    page.locator(FINISHED).wait_for()
    page.locator(".tile.up[data-s=err]").nth(3).wait_for()
    said = page.locator("#uploads").inner_text()
    assert "Unsupported file type. Use JPEG, PNG, WebP or HEIC." in said
    assert "Over 10 MB" in said
    assert "The file is empty" in said
    assert names(home) == ["good.jpg"]
    page.locator("#uploads").get_by_role("button", name="Remove plan.pdf").click()
    assert page.locator(".tile.up").count() == 3
    complaints.clear()  # four 422 responses


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_a_full_plan_says_so(
    editor: Editor, alice: Person, home: Property, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANS, "small", Plan("small", "Small", images_per_property=3, imports_per_month=3))
    with work():
        db.session.get_one(Workspace, alice.workspace.id).plan_name = "small"
    finished(home, "0.jpg", "1.jpg")
    page = editor(home)
    add(page, jpeg("last.jpg"))
    page.locator("#photos .tile:not(.up)").nth(2).wait_for()
    add(page, jpeg("one too many.jpg"))
    page.locator("#uploads").get_by_text("Photo limit reached. Your plan allows 3 photos").wait_for()
    complaints.clear()  # a 402 response


def test_a_cancelled_upload_leaves_nothing(editor: Editor, home: Property) -> None:
    page = editor(home)
    page.route("**/frontage-uploads/**", lambda _: None)  # never answered
    add(page, jpeg("hall.jpg"))
    page.get_by_role("button", name="Cancel hall.jpg").click()
    assert page.locator(".tile.up").count() == 0
    assert page.locator("#uploads").is_hidden()
    assert names(home) == []
    page.unroute_all(behavior="ignoreErrors")


def test_an_upload_cancelled_during_its_confirm_leaves_no_photo(
    editor: Editor, home: Property, buckets: Buckets
) -> None:
    """The server has confirmed it, and the page doesn't know yet."""
    page = editor(home)
    held: list[Any] = []
    page.route("**/uploads/confirm", lambda route: held.append((route, route.fetch())))
    add(page, jpeg("hall.jpg"))
    assert becomes(page, lambda: (len(held), names(home)), (1, ["hall.jpg"]))[0] == 1
    page.get_by_role("button", name="Cancel hall.jpg").click()
    page.locator("#toasts").get_by_text("Cancelled hall.jpg.").wait_for()
    ((route, response),) = held
    route.fulfill(response=response)
    go_on(page)
    assert becomes(page, lambda: page.locator("#photos .tile").count(), 0) == 0
    assert page.locator("#uploads").is_hidden()
    assert names(home) == []
    assert becomes(page, buckets.listing, set()) == set()


@pytest.mark.slow
def test_a_confirm_after_the_cancel_adds_nothing(
    editor: Editor, home: Property, buckets: Buckets, complaints: list[str]
) -> None:
    page = editor(home)
    held: list[Any] = []
    page.route("**/uploads/confirm", lambda route: route.continue_() if held else held.append(route))
    add(page, jpeg("hall.jpg"), jpeg("bath.jpg"))
    assert becomes(page, lambda: len(held), 1) == 1
    page.get_by_role("button", name="Cancel hall.jpg").click()
    page.locator("#toasts").get_by_text("Cancelled hall.jpg.").wait_for()
    page.locator("#photos .tile:not(.up)").wait_for()
    with page.expect_response("**/uploads/confirm") as late:
        held[0].continue_()
    assert late.value.status == 404
    assert becomes(page, lambda: names(home), ["bath.jpg"]) == ["bath.jpg"]
    assert len([key for bucket, key in buckets.listing() if bucket == "frontage-uploads"]) == 1
    assert becomes(page, lambda: len(complaints), 1) == 1  # the 404
    complaints.clear()


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_uploads_wait_while_offline(editor: Editor, own_tab: Any, home: Property, complaints: list[str]) -> None:
    page = editor(home, on=own_tab)
    page.context.set_offline(True)
    add(page, jpeg("hall.jpg"))
    page.get_by_text("You are offline").first.wait_for()
    assert page.locator(".tile.up").count() == 1
    page.context.set_offline(False)
    page.locator(FINISHED).wait_for()
    complaints.clear()  # from a poll meanwhile


def test_files_can_be_dropped_and_pasted(editor: Editor, home: Property) -> None:
    page = editor(home)
    data = list(factories.jpeg(60, 40))
    page.evaluate(
        """bytes => {
          const file = (name) => new File([new Uint8Array(bytes)], name, { type: 'image/jpeg' });
          const carry = (name) => { const all = new DataTransfer(); all.items.add(file(name)); return all; };
          const drag = (type) =>
            dispatchEvent(new DragEvent(type, { dataTransfer: carry('dropped.jpg'), cancelable: true }));
          drag('dragenter'); drag('dragover'); drag('drop');
          const paste = { clipboardData: carry('pasted.jpg'), cancelable: true };
          document.dispatchEvent(new ClipboardEvent('paste', paste));
        }""",
        data,
    )
    page.locator("#photos .tile:not(.up)").nth(1).wait_for()
    assert names(home) == ["dropped.jpg", "pasted.jpg"]
