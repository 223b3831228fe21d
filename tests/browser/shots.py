"""Screenshots of every page and its states, for review: `python -m tests.browser.shots OUT [NAME…]`.

Each is taken 1440, 834 and 390 px wide, light and dark, of the demo property and a few more photos."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from flask import Flask
from flask_migrate import upgrade
from PIL import Image as Pillow
from playwright.sync_api import sync_playwright
from werkzeug.serving import make_server

import workers
from app import create_app
from portal.accounts import access
from portal.accounts.models import User
from portal.config import Settings
from portal.embedded import start_seaweedfs, start_valkey
from portal.images import gallery
from portal.infra import storage
from portal.pages import guides
from tests.browser import connected, furnished
from tests.browser.conftest import QUIET, path_of_chromium
from tests.browser.pages import until

IN_SIGHT = "(image) => image.getBoundingClientRect().top < innerHeight"
SIZES = {1440: 900, 834: 1112, 390: 844}  # px; the last is drawn at two device pixels each, as on phones


@contextmanager
def installation() -> Iterator[tuple[Flask, str]]:
    """The app on fresh servers, under a real HTTP server."""
    directory = Path(tempfile.mkdtemp(prefix="frontage-"))
    valkey, s3 = start_valkey(directory / "valkey"), start_seaweedfs(directory / "s3")
    server = None
    try:
        server = make_server("127.0.0.1", 0, lambda *_: [], threaded=True)
        url = f"http://localhost:{server.server_port}"
        app = create_app(
            Settings(
                port=server.server_port,
                public_url=url,
                cdn_url=f"{url}/cdn",
                images_url=url,
                data_dir=directory,
                secret_key="only for pictures, only for pictures",
                database_url=f"sqlite:///{directory / 'shots.db'}",
                **valkey.settings,
                **s3.settings,
            )
        )
        server.app = app
        threading.Thread(target=server.serve_forever, daemon=True).start()
        workers.app = lambda: app  # type: ignore[assignment]
        with app.app_context():
            upgrade()
            storage.uploads.prepare([url])
            storage.cdn.prepare()
            yield app, url
    finally:
        if server:
            server.shutdown()
        valkey.stop()
        s3.stop()
        shutil.rmtree(directory, ignore_errors=True)


class Album:
    """Takes the screenshots."""

    def __init__(self, browser: Any, url: str, out: Path, wanted: set[str]) -> None:
        self.browser, self.url, self.out, self.wanted = browser, url, out, wanted
        self.state: Any = None

    def sign_in(self, user: User) -> None:
        context = self.browser.new_context(base_url=self.url)
        page = context.new_page()
        page.goto(f"/sign-in/link?token={access.create_sign_in_link(user)}")
        page.locator("main form button").click()
        page.wait_for_url("**/properties")
        self.state = context.storage_state()
        context.close()

    def take(
        self,
        name: str,
        path: str,
        act: Callable[[Any], None] | None = None,
        *,
        full: bool = False,
        widths: tuple[int, ...] = (1440, 834, 390),
        signed_in: bool = True,
    ) -> None:
        """One page or state in every width and theme."""
        if self.wanted and not any(name.startswith(start) for start in self.wanted):
            return
        for width in widths:
            for theme in ("light", "dark"):
                context = self.browser.new_context(
                    base_url=self.url,
                    viewport={"width": width, "height": SIZES[width]},
                    device_scale_factor=2 if width == 390 else 1,
                    has_touch=width == 390,
                    is_mobile=width == 390,
                    color_scheme=theme,
                    reduced_motion="reduce",
                    storage_state=self.state if signed_in else None,
                )
                page = context.new_page()
                page.on("console", lambda said: said.type in ("error", "warning") and print(name, said.text))
                page.goto(path)
                if act:
                    act(page)
                page.wait_for_timeout(300)
                page.screenshot(path=self.out / f"{name}-{width}-{theme}.png", full_page=full)
                context.close()


def hold_uploads(page: Any) -> None:
    """Five uploads over a line slow enough to be seen."""
    slow = {"offline": False, "latency": 5, "downloadThroughput": -1, "uploadThroughput": 160_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    noise = Pillow.effect_noise((1200, 800), 90)
    files = []
    for number in range(31, 36):
        file = BytesIO()
        Pillow.merge("RGB", [noise, noise.rotate(90).resize(noise.size), noise]).save(file, "JPEG", quality=60)
        files.append({"name": f"DSC_04{number}.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()})
    page.locator("[data-upload-input]").set_input_files(files)
    page.wait_for_timeout(2500)
    page.locator(".tile.up").first.scroll_into_view_if_needed()


def refuse_uploads(page: Any) -> None:
    page.locator("[data-upload-input]").set_input_files(
        [
            {"name": "floor plan.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7"},
            {"name": "panorama.jpg", "mimeType": "image/jpeg", "buffer": b"\xff" * (10 * 2**20 + 1)},
        ]
    )
    page.locator(".tile.up[data-s=err]").nth(1).wait_for()


def show_veil(page: Any) -> None:
    page.evaluate("document.body.classList.add('dropping')")


def select_three(page: Any) -> None:
    page.locator("#photos .tile").nth(1).scroll_into_view_if_needed()
    for nth in (1, 3, 6):
        page.locator("#photos .pick input").nth(nth).check()


def open_menu(page: Any) -> None:
    page.locator("#photos .tile").nth(2).hover()
    page.locator("#photos .more").nth(2).click()


def carry(page: Any, *, keep: bool = False) -> None:
    page.locator("#photos a.shot").nth(5).focus()
    page.keyboard.press("m")
    if keep:
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        page.keyboard.press("c")
        page.wait_for_timeout(500)
        page.keyboard.press("Control+z")
        page.keyboard.press("c")


def drag(page: Any) -> None:
    box, onto = (page.locator("#photos a.shot").nth(nth).bounding_box() for nth in (1, 3))
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(onto["x"] + 90, onto["y"] + 90, steps=9)


def ask_for_position(page: Any) -> None:
    open_menu(page)
    page.get_by_role("menuitem", name="Move to position").click()


def open_import(page: Any, links: str = "") -> None:
    page.locator("[data-action=import]:visible").first.click()
    if links:
        page.get_by_label("Links to photos").fill(links)
        page.get_by_role("button", name="Import", exact=True).click()
        page.locator("#import .wrong").wait_for()


def see_pictures(page: Any) -> None:
    until(page, f"[...document.images].filter({IN_SIGHT}).every((image) => image.complete)")


def make_webhook(page: Any) -> None:
    page.get_by_text("New webhook").click()
    page.get_by_label("Address").fill("https://site.example/hooks")
    page.get_by_role("button", name="Create webhook").click()
    page.locator("#secret").wait_for()


def main(out: Path, wanted: set[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with installation() as (_, url), sync_playwright() as playwright:
        user, home, empty, broken = furnished.homes()
        browser = playwright.chromium.launch(executable_path=path_of_chromium(), args=list(QUIET))
        album = Album(browser, url, out, wanted)
        album.sign_in(user)
        photos, first = f"/properties/{home.uuid}/photos", gallery.images(home)[3]
        album.take("gallery", photos)
        album.take("gallery-full", photos, full=True, widths=(1440, 390))
        album.take("gallery-small", photos, lambda page: page.locator("[data-tiles=s]").click(), widths=(1440,))
        album.take("gallery-undescribed", f"{photos}?f=alt")
        album.take("gallery-failed", f"/properties/{broken.uuid}/photos")
        album.take("gallery-empty", f"/properties/{empty.uuid}/photos")
        album.take("photo", photos, lambda page: page.locator(f"#p-{first.uuid} a.shot").click())
        album.take("photo-wrong", photos, lambda page: describe_too_much(page, str(first.uuid)))
        album.take("state-select", photos, select_three)
        album.take("state-menu", photos, open_menu)
        album.take("state-carry", photos, carry)
        album.take("state-drag", photos, drag, widths=(1440, 834))
        album.take("state-toast", photos, lambda page: carry(page, keep=True))
        album.take("state-moveto", photos, ask_for_position, widths=(1440, 390))
        album.take("state-import", photos, lambda page: open_import(page))
        album.take("state-import-wrong", photos, lambda page: open_import(page, "https://example.com/a.jpg\nno link"))
        album.take("state-importing", f"/properties/{furnished.importing(broken).uuid}/photos")
        album.take("uploading", f"/properties/{home.uuid}/photos", hold_uploads)
        album.take("uploading-refused", f"/properties/{broken.uuid}/photos", refuse_uploads)
        album.take("drop", photos, show_veil)
        album.take("help", photos, lambda page: page.keyboard.press("?"), widths=(1440,))
        album.take("account", photos, lambda page: page.locator(".avatar").click())
        furnished.lost(home)
        album.take("gallery-lost", photos, lambda page: page.locator("#photos a.shot").nth(1).focus())
        album.take("gallery-lost-photo", photos, lambda page: page.locator("#photos a.shot").nth(2).click())
        album.take("sign-in", "/sign-in", signed_in=False)
        album.take("properties", "/properties")
        album.take("property-new", "/properties/new")
        album.take("property-edit", f"/properties/{home.uuid}/edit")
        album.take("listings-none", "/listings")
        failing = furnished.called(user)
        furnished.synced(user.workspace)
        furnished.staffed()
        album.take("jobs", "/jobs")
        album.take("jobs-failed", "/jobs?state=failed")
        listing = f"/listings/{connected.listings(user).uuid}"
        album.take("listings", "/listings", see_pictures)
        album.take("listings-integration", "/listings?provider=guesty", see_pictures)
        album.take("listings-failed", "/listings?state=failed", see_pictures)
        album.take("listing", listing, see_pictures, full=True)
        connected.syncing()
        album.take("listings-syncing", "/listings?provider=hostaway", see_pictures)
        album.take("listings-choose", "/listings/connect")
        album.take("listings-connect", "/listings/connect/hostaway")
        album.take("listings-edit", "/listings?provider=hostaway", edit_account)
        album.take("settings-webhooks", "/settings/webhooks")
        album.take("settings-webhook", f"/settings/webhooks/{failing.uuid}", full=True)
        album.take("settings-webhook-delete", f"/settings/webhooks/{failing.uuid}/delete", widths=(1440, 390))
        album.take("settings-webhook-made", "/settings/webhooks", make_webhook, widths=(1440, 390))
        album.take("settings-plan-and-keys", "/settings/plan-and-keys")
        album.take("settings-people", "/settings/people")
        album.take("settings-you", "/settings/you")
        album.take("settings-storage-none", "/settings/storage", widths=(1440, 390))
        furnished.audited(home)
        album.take("settings-storage", "/settings/storage", full=True)
        furnished.auditing()
        album.take("settings-storage-running", "/settings/storage", full=True, widths=(1440, 390))
        album.take("error-404", "/nowhere")
        album.take("guides", "/guides")
        for guide in guides.NAMES:
            album.take(f"guides-{guide}", f"/guides/{guide}", full=True)
        album.take("guides-signed-out", "/guides/integrate", signed_in=False)
        browser.close()


def edit_account(page: Any) -> None:
    page.get_by_role("link", name="Edit ").first.click()
    page.get_by_label("API key").wait_for()


def describe_too_much(page: Any, uuid: str) -> None:
    page.locator(f"#p-{uuid} a.shot").click()
    page.locator("#photo textarea").fill("A kitchen that goes on and on. " * 18)
    page.locator("#photo .btn-pri").click()
    page.locator("#photo .wrong").wait_for()


if __name__ == "__main__":
    main(Path(sys.argv[1]), set(sys.argv[2:]))
