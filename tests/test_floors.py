"""The house stands: floors, types, style, and nothing in it that only one machine knows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SIZE_LIMIT = 300  # lines: past that a file splits by flow


def run(*command: str) -> str:
    """Run a tool of this environment; return what it says when it is not content."""
    tool = Path(sys.executable).with_name(command[0])
    done = subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_imports_point_down() -> None:
    assert run("lint-imports", "--no-cache") == ""


def test_the_types_are_right() -> None:
    assert run("mypy") == ""


@pytest.mark.parametrize("command", [("ruff", "check"), ("ruff", "format", "--check")], ids=" ".join)
def test_the_style_is_one(command: tuple[str, ...]) -> None:
    assert run(*command, "--no-cache", ".") == ""


def sources(*suffixes: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    files = [ROOT / name for name in listed.stdout.split()] or list(ROOT.rglob("*"))
    return [path for path in files if path.suffix in suffixes and path.is_file()]


def test_the_top_level_is_the_one_that_was_agreed() -> None:
    names = {path.relative_to(ROOT).parts[0] for path in sources("", ".py", ".md", ".toml", ".html", ".css", ".js")}
    visible = {name for name in names if not name.startswith(".")}
    expected = {
        "app.py",
        "pyproject.toml",
        "portal",
        "templates",
        "static",
        "workers",
        "tests",
        "README.md",
        "CHANGELOG.md",
    }
    assert visible <= expected | {"LICENSE"}, visible - expected


def test_no_file_is_too_long_to_read() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources(".py", ".js")
        if "vendor" not in path.parts
        and "versions" not in path.parts
        and (lines := len(path.read_text().splitlines())) > SIZE_LIMIT
        and "tests" not in path.parts
    }
    assert not long


def test_every_change_stands_inside_the_seam() -> None:
    """`grep -rn "with work"` lists everything that changes anything."""
    commits = [
        str(path.relative_to(ROOT))
        for path in sources(".py")
        if path.is_relative_to(ROOT / "portal") or path.is_relative_to(ROOT / "workers")
        if re.search(r"session\.commit\(", path.read_text())
    ]
    assert commits == ["portal/work.py"]


def test_rows_are_held_in_one_way() -> None:
    """work.lock and work.held; an event's Endpoint is only kept from being deleted."""
    holds = [
        str(path.relative_to(ROOT))
        for path in sources(".py")
        if path.is_relative_to(ROOT / "portal") or path.is_relative_to(ROOT / "workers")
        if re.search(r"\bwith_for_update\b", path.read_text())
    ]
    assert sorted(holds) == ["portal/webhooks/events.py", "portal/work.py"]


def test_objects_are_written_by_changes_and_ahead_of_one_by_downloads_alone() -> None:
    """What is written ahead of a change that fails is written again by the next try, or collected as nobody's.

    One object more tells whose bucket it is.
    """
    writes = [
        str(path.relative_to(ROOT))
        for path in sources(".py")
        if path.is_relative_to(ROOT / "portal") or path.is_relative_to(ROOT / "workers")
        if re.search(r"\b(storage\.\w+|bucket)\.(put|copy)\(", path.read_text())
    ]
    assert sorted(writes) == ["portal/installation.py", "portal/listings/copies/fetch.py", "portal/work.py"]


def test_the_table_of_rules_names_places_that_exist() -> None:
    """The guide Extend, "Where is the rule for …?": each file is there, and has the function that it names."""
    guide = (ROOT / "templates" / "guides" / "extend.md").read_text()
    table = guide.partition("## Where is the rule for")[2].partition("\n## ")[0]
    places = re.findall(r"`([\w/]+\.py)`(?: \(?`(\w+)`)?", table)
    assert len(places) >= 60
    for file, name in places:
        path = ROOT / file
        assert path.is_file(), file
        assert not name or re.search(rf"^\s*(def|class|async def) {name}\b|^{name}\b", path.read_text(), re.M), (
            file,
            name,
        )
