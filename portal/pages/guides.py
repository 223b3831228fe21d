"""The guides under /guides: Markdown files of templates/guides, rendered once at start, for everybody to read."""

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
FILE_OF_A_GUIDE = re.compile(rf"({'|'.join(NAMES)})\.md(#.*)?")

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
    """Render a Markdown file that begins with its title and one paragraph that says what it is about."""
    tokens = MARKDOWN.parse(path.read_text(encoding="utf-8"))
    title, lead, rest = tokens[1], tokens[4], tokens[6:]
    sections = _name_parts(rest)
    for inline in (lead, *rest):
        _link_to_pages(inline)
    return Guide(path.stem, title.content, _html([lead]), sections, _html(rest))


@blueprint.get("")
def index() -> str:
    """List the guides."""
    _look_who_reads()
    return render_template("guides/index.html", guides=_guides())


def show(name: str) -> str:
    """Show one guide."""
    _look_who_reads()
    return render_template("guides/guide.html", guide=_guides()[name], guides=_guides())


for _name in NAMES:
    blueprint.add_url_rule(f"/{_name}", _name, partial(show, _name))


def _guides() -> dict[str, Guide]:
    return cast(dict[str, Guide], current_app.extensions["frontage"]["guides"])


def _look_who_reads() -> None:
    """Find out whose navigation to show: nobody's for people who are signed out, or while the database is away."""
    with suppress(Unauthorized, SQLAlchemyError):
        current_user()


def _name_parts(tokens: Sequence[Token]) -> tuple[tuple[str, str], ...]:
    """Give headings their ids, and tables and code what they are called by; return the sections."""
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
    """Return the id of a heading, as code hosts make it: links work there and here."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())


def _link_to_pages(inline: Token) -> None:
    """Point links to another guide's file at its page."""
    for child in inline.children or ():
        if child.type == "link_open" and (other := FILE_OF_A_GUIDE.fullmatch(str(child.attrGet("href")))):
            child.attrSet("href", f"/guides/{other[1]}{other[2] or ''}")


def _html(tokens: Sequence[Token]) -> Markup:
    return Markup(MARKDOWN.renderer.render(tokens, MARKDOWN.options, {}))


def _table_open(_: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    """Let a wide table scroll within itself, by keyboard too."""
    return Markup('<div class="scroll" role="group" tabindex="0" aria-label="Table: {}">\n<table>\n').format(
        tokens[index].meta["label"]
    )


def _table_close(*_: object) -> str:
    return "</table>\n</div>\n"


def _fence(_: RendererHTML, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType) -> str:
    """Give code a button that copies it; app.js does."""
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
