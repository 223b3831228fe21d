"""The guides: shown to everybody, true of the settings and of every link, and their calls work as printed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError
from standardwebhooks import Webhook

from portal import config
from portal.accounts import access
from portal.accounts.plans import PLANS
from portal.api import bodies
from portal.config import Settings
from portal.db import now
from portal.demo.pms.hostaway import FakeHostaway
from portal.images import gallery, uploads
from portal.images.models import Property
from portal.images.uploads import presigning
from portal.pages import guides
from portal.pixels.rejection import MAX_PIXELS, MAX_SIDE_PX
from portal.webhooks import endpoints
from tests import factories
from tests.factories import Person
from tests.processes import ROOT

FOLDER = ROOT / "templates" / "guides"
TEXTS = [ROOT / "README.md", *sorted(FOLDER.glob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
HREF = re.compile(r'href="([^"]+)"')
PATH = re.compile(r"`((?:portal|workers|templates|static|tests)/[\w/.-]+|\w+\.(?:py|toml))`")
OF_BOTO3 = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
AS_PRINTED = 'curl() { command curl --silent --show-error --fail-with-body --max-time 60 "$@"; }\n'


@pytest.mark.parametrize("name", guides.NAMES)
def test_a_guide_is_shown_to_people_who_are_signed_out(app: Flask, name: str) -> None:
    answer = app.test_client().get(f"/guides/{name}")
    assert answer.status_code == 200
    title = (FOLDER / f"{name}.md").read_text().splitlines()[0].removeprefix("# ")
    assert f"<h1>{title}</h1>" in answer.text
    assert 'aria-label="Main"' not in answer.text


def test_a_guide_is_shown_with_the_readers_navigation(bob: Person) -> None:
    assert 'aria-label="Main"' in bob.browser().get("/guides/operate").text


def test_a_guide_is_shown_while_the_database_is_away(bob: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = bob.browser()

    def fail(token: str) -> None:
        raise OperationalError("SELECT", {}, Exception("away"))

    monkeypatch.setattr(access, "user_of_session", fail)
    assert browser.get("/guides/operate").status_code == 200


def test_every_page_leads_to_the_guides(app: Flask, bob: Person) -> None:
    stranger, browser = app.test_client(), bob.browser()
    for answer in (
        stranger.get("/sign-in"),
        stranger.get("/guides"),
        browser.get("/nowhere", headers={"Accept": "text/html"}),
        browser.get("/properties"),
        browser.get("/settings/you"),
    ):
        assert {f"/guides/{name}" for name in guides.NAMES} <= set(HREF.findall(answer.text)), answer.request.path
    assert "/guides/integrate" in HREF.findall(stranger.get("/api/docs").text)


def test_the_table_of_settings_is_that_of_the_code(tmp_path: Path) -> None:
    """Each variable that is read has a row with its default, and there is no other row."""
    told = _settings()
    asked = _Recording({"DATA_DIR": str(tmp_path)})
    config.from_environment(asked)
    assert set(told) == (asked.names | OF_BOTO3) - {"AWS_DEFAULT_REGION"}
    for field in fields(Settings):
        name = field.name.upper()
        if name in told and isinstance(field.default, int | str) and field.default and "URL" not in name:
            assert told[name] == f"`{field.default}`", name


def test_the_table_of_limits_is_that_of_the_code(app: Flask) -> None:
    told = _rows("integrate.md", "| What | Limit |")
    per_minute = [app.config[name].split()[0] for name in ("API_CALLS_PER_KEY", "API_CALLS_PER_STRANGER")]
    expected = {
        "Requests of a key": [per_minute[0]],
        "Requests without a valid key": [per_minute[1]],
        "JSON body": [bodies.MAX_BODY_BYTES // 1024],
        "Entries of a batch, ids or URLs in a call, files in a form": [bodies.MAX_ITEMS],
        "A photo by presign or import": [uploads.MAX_SIZE_BYTES // 1024**2, MAX_PIXELS // 10**6, f"{MAX_SIDE_PX:,}"],
        "A file in `PUT /api/properties/{id}`": [Settings.max_file_mb],
        "Photos of a property": [plan.images_per_property for plan in PLANS.values()],
        "Imports in a calendar month (UTC)": [f"{plan.imports_per_month:,}" for plan in PLANS.values()],
        "Unconfirmed uploads of a property": [],  # three times, in words
        "Description of a photo": [gallery.MAX_ALT_TEXT_LENGTH],
        "Webhooks of a workspace": [endpoints.MAX_ENDPOINTS],
    }
    assert {what: re.findall(r"[\d,]*\d", limit) for what, limit in told.items()} == {
        what: [str(number) for number in numbers] for what, numbers in expected.items()
    }
    assert presigning.OUTSTANDING_PER_PLAN == 3


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.name)
def test_every_link_leads_somewhere(app: Flask, file: Path) -> None:
    text = _without_code(file.read_text())
    client = app.test_client()
    for link in LINK.findall(text):
        path, anchor = urldefrag(link)
        if path.startswith(("https://", "http://")):
            continue
        if path.startswith("/"):
            assert client.get(path).status_code == 200, link
            continue
        target = (file.parent / path).resolve() if path else file
        assert target.exists() and target.is_relative_to(ROOT), link
        assert not anchor or anchor in _ids(target), link


@pytest.mark.parametrize("name", guides.NAMES)
def test_every_link_of_a_shown_guide_leads_somewhere(app: Flask, name: str) -> None:
    client = app.test_client()
    page = client.get(f"/guides/{name}").text
    own = re.findall(r' id="([^"]+)"', page)
    assert len(own) == len(set(own))
    for link in HREF.findall(page):
        path, anchor = urldefrag(link)
        if path.startswith(("https://", "/static/", "/properties")):
            continue
        there = client.get(path).text if path else page
        assert not path or client.get(path).status_code == 200, link
        assert not anchor or f' id="{anchor}"' in there, link


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.name)
def test_every_file_that_is_named_exists(file: Path) -> None:
    for path in PATH.findall(file.read_text()):
        near = [ROOT / path, ROOT / "portal" / "listings" / "providers" / path]
        assert any(each.exists() for each in near), path


@pytest.mark.clients
@pytest.mark.timeout(180)
def test_every_call_of_integrate_works_as_printed(
    live: str, alice: Person, home: Property, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """All in one shell, one after the other, as a reader types them."""
    assert shutil.which("bash") and shutil.which("curl"), "This test needs bash and curl: install them."
    for number, name in enumerate(("kitchen", "garden", "bathroom")):
        (tmp_path / f"{name}.jpg").write_bytes(factories.jpeg(640 + number, 480))
    blocks = [text for language, text in BLOCK.findall((FOLDER / "integrate.md").read_text()) if language == "sh"]
    assert len(blocks) >= 10
    script = AS_PRINTED + "".join(f"echo '--- block {n}' >&2\n{block}" for n, block in enumerate(blocks))
    with FakeHostaway() as pms:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=_environment(live, alice, home, pms),
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{done.stdout[-3000:]}"
    said = done.stdout
    photos = alice.api("GET", f"/api/v1/properties/{home.id}/images").json["data"]
    assert [photo["altText"] for photo in photos].count("Kitchen with an oak island") == 1
    assert len(photos) == 2
    assert said.lower().count("idempotent-replayed: true") == 1
    assert '"enableImagesCDN":true' in said


def test_the_check_of_signatures_that_integrate_prints() -> None:
    (code,) = [text for language, text in BLOCK.findall((FOLDER / "integrate.md").read_text()) if language == "python"]
    there: dict[str, Any] = {}
    exec(code, there)
    old, new = ("whsec_" + "QUJD" * 8, "whsec_" + "REVG" * 8)
    body = b'{"type":"property.updated"}'
    at = now()
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign("msg_1", at, body.decode()) for secret in (new, old)),
    }
    for secret in (old, new):
        assert there["verified"](secret, headers, body) == {"type": "property.updated"}
    wrong = [
        ("whsec_" + "R0hJ" * 8, headers, body),
        (new, headers, body + b" "),
        (new, headers | {"webhook-id": "msg_2"}, body),
        (new, headers | {"webhook-timestamp": str(int(at.timestamp()) - 400)}, body),
    ]
    for arguments in wrong:
        with pytest.raises(ValueError, match=r"signature|old"):
            there["verified"](*arguments)


class _Recording(dict[str, str]):
    """An environment that keeps which names it was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def _settings() -> dict[str, str]:
    """Return the defaults that the table tells, by setting."""
    rows = _rows("operate.md", "| Setting |")
    return {name: default for names, default in rows.items() for name in re.findall(r"`(\w+)`", names)}


def _rows(file: str, head: str) -> dict[str, str]:
    """Return the first two columns of the table whose head begins so."""
    table = (FOLDER / file).read_text().partition(head)[2].partition("\n\n")[0]
    cells = (line.split("|")[1:3] for line in table.splitlines()[2:])
    return {first.strip(): second.strip() for first, second in cells}


def _environment(live: str, alice: Person, home: Property, pms: FakeHostaway) -> dict[str, str]:
    path = Path(shutil.which("python3") or "/usr/bin/python3").parent
    return {
        "PATH": f"{path}:/usr/local/bin:/usr/bin:/bin",
        "FRONTAGE": live,
        "KEY": alice.key,
        "PROPERTY": str(home.id),
        "CLIENT_ID": pms.credentials["clientId"],
        "CLIENT_SECRET": pms.credentials["clientSecret"],
        "BASE_URL": pms.credentials["baseUrl"],
    }


def _ids(file: Path) -> set[str]:
    return {guides.slug(title.replace("`", "")) for title in _headings(file)}


def _headings(file: Path) -> Iterator[str]:
    for line in _without_code(file.read_text()).splitlines():
        if found := re.fullmatch(r"#+ (.+)", line):
            yield found[1]


def _without_code(text: str) -> str:
    return BLOCK.sub("", text)
