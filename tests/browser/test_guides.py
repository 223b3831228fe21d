"""The guides in a browser: nothing bars the way, nothing scrolls sideways but tables and code, and code is copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal.pages import guides
from tests.browser.test_every_page import WIDTHS, found_by_axe, resize, scrolls_sideways

PAGES = ["/guides", *(f"/guides/{name}" for name in guides.NAMES), "/sign-in"]
LOOKS = [
    pytest.param("light", [390], ["/guides/integrate"], id="light"),
    *(pytest.param(theme, WIDTHS, PAGES, id=f"{theme}, all", marks=pytest.mark.slow) for theme in ("light", "dark")),
]


@pytest.mark.parametrize(("theme", "widths", "paths"), LOOKS)
def test_nothing_bars_the_way(
    tab: Callable[..., Any], theme: str, widths: list[int], paths: list[str], subtests: pytest.Subtests
) -> None:
    page = tab(color_scheme=theme)
    for path in paths:
        page.goto(path)
        for width in widths:
            resize(page, width)
            with subtests.test(path=path, width=width):
                assert not scrolls_sideways(page)
                assert found_by_axe(page, theme) == []


@pytest.mark.slow
def test_a_block_of_code_is_copied(tab: Callable[..., Any]) -> None:
    page = tab(permissions=["clipboard-read", "clipboard-write"])
    page.goto("/guides/integrate")
    block = page.locator(".code").first
    block.hover()
    block.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied.").first.wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == block.locator("code").inner_text().strip()
