"""The house stands: floors, types, style, and nothing in it that only one machine knows."""

import ast
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


@pytest.mark.slow  # half a minute of CPU without mypy's cache, as in a fresh clone
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
        for path in sources(".py", ".js", ".css")
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


def test_rows_are_locked_in_one_way() -> None:
    """work.lock and work.for_update; an event's Endpoint is only kept from being deleted, and confirm never waits."""
    locking = [
        str(path.relative_to(ROOT))
        for path in sources(".py")
        if path.is_relative_to(ROOT / "portal") or path.is_relative_to(ROOT / "workers")
        if re.search(r"\bwith_for_update\b", path.read_text())
    ]
    assert sorted(locking) == ["portal/inventory.py", "portal/webhooks/events.py", "portal/work.py"]


def test_objects_are_written_by_changes_and_ahead_of_one_by_downloads_alone() -> None:
    """What is written ahead of a change that fails is written again by the next try, or collected as nobody's.

    One object more tells whose bucket it is.
    """
    assert matching(r"\b(storage\.\w+|bucket)\.(put|copy)\(") == ["portal/installation.py", "portal/inventory.py"]
    assert matching(r"\binventory\.write\(") == [
        "portal/audit/repair.py",
        "portal/images/repair.py",
        "portal/listings/copies/fetch.py",
        "portal/work.py",
    ]


def test_pictures_are_derived_in_one_place() -> None:
    """Else a repair could not make the same bytes again."""
    assert matching(r"from portal\.pixels\.render import .*\b(render|resize)\b") == ["portal/pixels/derive.py"]


def matching(pattern: str) -> list[str]:
    """The files of the portal and the workers that hold a text of this pattern."""
    return sorted(
        str(path.relative_to(ROOT))
        for path in sources(".py")
        if path.is_relative_to(ROOT / "portal") or path.is_relative_to(ROOT / "workers")
        if re.search(pattern, path.read_text())
    )


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


FOREIGN = re.compile(
    r"\b[Ss]eed [ABC]\b"
    r"|\b(contract|reliability|design|performance|pms|peers|channels|house)\.md\b"
    r"|\b[Dd]ecision \d+|\b[Cc]ases? [A-Z]\d+"
)
CASE_NUMBER = re.compile(r"\b[A-KX]\d{1,2}\b")
EXCEPTED: dict[str, str] = {}  # word → why it is not a case number
CLEAN = ("app.py", "portal", "workers", "templates", "static", "tests")


def words_for_readers(path: Path) -> str:
    """Return a Python file's comments, docstrings and names of tests, the names with spaces and in capitals."""
    source = path.read_text()
    found = re.findall(r"(?:^|\s)# [^\n]*", source)  # a tokenizer would take seconds for all files
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(ast.Constant(str(text))):
                found.append(text)
            case ast.FunctionDef(name) | ast.ClassDef(name) if name.lower().startswith("test"):
                found.append(name.removeprefix("Test").replace("_", " ").upper())
    return "\n".join(found)


def marked_up(path: Path) -> tuple[str, str]:
    """Return all of a template, script or style sheet, and its comments."""
    text = path.read_text()
    return text, "\n".join(re.findall(r"\{#.*?#\}|<!--.*?-->|/\*.*?\*/|(?<!:)//[^\n]*", text, re.S))


def test_nothing_refers_to_a_document_that_is_not_in_the_repository() -> None:
    """A comment states the rule, or points to a file that its reader has."""
    found = []
    for path in sources(".py", ".html", ".js", ".css", ".txt"):
        if "vendor" in path.parts or not any(path.is_relative_to(ROOT / each) for each in CLEAN):
            continue
        whole, comments = (words_for_readers(path),) * 2 if path.suffix == ".py" else marked_up(path)
        matches = [match[0] for match in FOREIGN.finditer(whole)]
        matches += [match[0] for match in CASE_NUMBER.finditer(comments) if match[0] not in EXCEPTED]
        found += [f"{path.relative_to(ROOT)}: {match}" for match in matches]
    assert found == []


def test_the_contracts_readme_names_tests_that_exist() -> None:
    tests = ROOT / "tests"
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (tests / "contracts" / "README.md").read_text())
    assert len(named) >= 100
    assert [name for file, name in named if f"def {name}(" not in (tests / file).read_text()] == []


def test_the_contracts_readme_has_the_headings_that_comments_point_to() -> None:
    headings = set(re.findall(r"^#+ (.+)$", (ROOT / "tests" / "contracts" / "README.md").read_text(), re.M))
    pointer = re.compile(r"""contracts/README\.md,?[\s#]*["'](.+?)["']""", re.S)
    named = {
        f"{path.relative_to(ROOT)}: {name}": re.sub(r"[\s#]+", " ", name)
        for path in sources(".py", ".html")
        for name in pointer.findall(path.read_text())
    }
    assert [place for place, heading in named.items() if heading not in headings] == []
