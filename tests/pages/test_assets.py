"""Static files: kept for good under their own address, the icons that templates name, and what others wrote."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from flask import Flask

from portal.pages.assets import minified, static_url

ROOT = Path(__file__).parents[2]
STATIC, TEMPLATES = ROOT / "static", ROOT / "templates"


def test_a_file_is_kept_for_good_under_its_own_address(app: Flask) -> None:
    with app.test_request_context():
        url = static_url("favicon.svg")
    with app.test_client().get(url) as answer:
        assert answer.data == (STATIC / "favicon.svg").read_bytes()
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_under_an_old_address_the_new_file_is_asked_for_each_time(app: Flask) -> None:
    with app.test_client().get("/static/v-000000000000/css/app.css") as answer:
        assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-cache"


def test_nothing_else_is_to_be_had(app: Flask, subtests: pytest.Subtests) -> None:
    for name in ("none.css", "../app.py", "%2e%2e/app.py"):
        with subtests.test(name=name):
            assert app.test_client().get(f"/static/v-000000000000/{name}").status_code == 404


def test_every_icon_that_a_template_names_is_in_the_sprite() -> None:
    there = set(re.findall(r'<symbol id="([^"]+)"', (STATIC / "icons.svg").read_text()))
    templates = "".join(path.read_text() for path in TEMPLATES.rglob("*.html"))
    named = set(re.findall(r'(?:icon|empty)\("([a-z0-9-]+)"', templates))
    assert named
    assert named <= there


def test_the_stylesheet_is_served_as_one_file(app: Flask) -> None:
    with app.test_request_context():
        url = static_url("css/app.css")
    served = app.test_client().get(url).text
    assert served.startswith("@layer reset, tokens, base, layout, components, states, print;")
    assert "@import" not in served
    assert "/*" not in served
    assert ".tile:hover :is(.pick span, .tools)" in served  # a descendant: the space must stay


def test_the_stylesheet_imports_every_file_once() -> None:
    folder = STATIC / "css"
    imported = re.findall(r'@import "(.+)";', (folder / "app.css").read_text())
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.css")}
    assert sorted([*imported, "app.css"]) == sorted(files)


def test_every_stylesheet_and_module_opens_with_what_it_is_for(subtests: pytest.Subtests) -> None:
    for path in [*(STATIC / "css").rglob("*.css"), *(STATIC / "js").glob("*.js")]:
        with subtests.test(file=path.name):
            opening = r"/\* [A-Z]" if path.suffix == ".css" else r"// [A-Z]"
            assert re.match(opening, path.read_text())


def test_what_others_wrote_is_as_it_was_fetched() -> None:
    folder = STATIC / "vendor"
    entries = re.findall(r"^(\S+)\n(?:  .*\n)*?  SHA-256 ([0-9a-f]{64})$", (folder / "VENDOR.txt").read_text(), re.M)
    assert len(entries) >= 3
    for name, sha256 in entries:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256, name


def test_minifying_a_module_changes_none_of_its_texts() -> None:
    """rjsmin knows no template literal inside another: both would end early, in the middle of an expression."""
    for path in (STATIC / "js").glob("*.js"):
        module = path.read_text()
        texts = re.findall(r"'[^'\n]*'|`[^`]*`", minified(module))
        assert all(text in module for text in texts), path.name
        assert all(text.count("{") == text.count("}") for text in texts if text[0] == "`"), path.name


def test_a_module_is_served_without_its_comments(app: Flask) -> None:
    with app.test_request_context():
        url = static_url("js/app.js")
    served = app.test_client().get(url, headers={"Accept-Encoding": "identity"}).get_data(as_text=True)
    assert "/**" not in served and "// " not in served
    assert "export const $=(selector,root=document)=>root.querySelector(selector)" in served
