"""The guides under /guides: the Markdown files in templates/guides, rendered once at start, and public."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from flask import Blueprint, Flask, current_app, render_template
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup
from sqlalchemy.exc import SQLAlchemyError

from portal import config
from portal.errors import Unauthorized
from portal.pages.session import current_user

NAMES = ("operate", "integrate", "extend")
GUIDE_LINK = re.compile(rf"({'|'.join(NAMES)})\.md(#.*)?")

blueprint = Blueprint("guides", __name__, url_prefix="/guides")


@dataclass(frozen=True)
class Guide:
    """A guide as HTML. `sections` are the ids and titles of its headings of the second level."""

    name: str
    title: str
    lead: Markup
    sections: tuple[tuple[str, str], ...]
    body: Markup


def init_app(app: Flask) -> None:
    folder = Path(app.root_path) / cast(str, app.template_folder) / "guides"
    config.parts()["guides"] = {name: read(folder / f"{name}.md") for name in NAMES}
    app.register_blueprint(blueprint)


def read(path: Path) -> Guide:
    """Render a Markdown file that begins with its title and a paragraph of introduction."""
    tokens = MARKDOWN.parse(path.read_text(encoding="utf-8"))
    title, lead, rest = tokens[1], tokens[4], tokens[6:]
    sections = _label_blocks(rest)
    for inline in (lead, *rest):
        _link_to_pages(inline)
    return Guide(path.stem, title.content, _html([lead]), sections, _html(rest))


@blueprint.get("")
def index() -> str:
    """List the guides."""
    _load_user()
    return render_template("guides/index.html", guides=_guides())


def show(name: str) -> str:
    """Show one guide."""
    _load_user()
    return render_template("guides/guide.html", guide=_guides()[name], guides=_guides())


for _name in NAMES:
    blueprint.add_url_rule(f"/{_name}", _name, partial(show, _name))


def _guides() -> dict[str, Guide]:
    return cast(dict[str, Guide], current_app.extensions["frontage"]["guides"])


def _load_user() -> None:
    """Load the user for the navigation, if somebody is signed in and the database is available."""
    with suppress(Unauthorized, SQLAlchemyError):
        current_user()


def _label_blocks(tokens: Sequence[Token]) -> tuple[tuple[str, str], ...]:
    """Set ids of headings, and ids and labels of tables and code blocks; return the sections."""
    sections: list[tuple[str, str]] = []
    title = ""
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            title = _plain(tokens[index + 1])
            token.attrSet("id", slug(title))
            if token.tag == "h2":
                sections.append((slug(title), title))
        elif token.type in ("table_open", "fence"):
            token.meta = {"label": title, "id": f"block-{index}"}
    return tuple(sections)


def slug(title: str) -> str:
    """Return the id of a heading, in the format of code hosts, so that links work there too."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())


def _link_to_pages(inline: Token) -> None:
    """Point links to another guide's file at its page."""
    for child in inline.children or ():
        if child.type == "link_open" and (other := GUIDE_LINK.fullmatch(str(child.attrGet("href")))):
            child.attrSet("href", f"/guides/{other[1]}{other[2] or ''}")


def _html(tokens: Sequence[Token]) -> Markup:
    return Markup(MARKDOWN.renderer.render(tokens, MARKDOWN.options, {}))


def _table_open(_: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    """Open a wrapper in which a wide table scrolls, by keyboard too."""
    return Markup('<div class="scroll" role="group" tabindex="0" aria-label="Table: {}">\n<table>\n').format(
        tokens[index].meta["label"]
    )


def _table_close(*_: object) -> str:
    return "</table>\n</div>\n"


def _fence(_: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    """Render a code block with a copy button, which app.js handles."""
    token = tokens[index]
    return Markup(
        '<div class="code">'
        '<pre id="{id}" role="group" tabindex="0" aria-label="Code: {label}"><code>{text}</code></pre>'
        '<button class="btn needs-js" type="button" data-copy="#{id}">Copy</button></div>\n'
    ).format(**token.meta, text=token.content)


def _markdown() -> MarkdownIt:
    """CommonMark with tables; HTML in a text is shown as text."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("table_open", _table_open)
    markdown.add_render_rule("table_close", _table_close)
    markdown.add_render_rule("fence", _fence)
    return markdown


MARKDOWN = _markdown()
