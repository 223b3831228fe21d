"""Static files under an address that changes with their content, so that browsers may keep them for good."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path, PurePath

import rjsmin
import tinycss2
from flask import Blueprint, Flask, Response, abort, current_app, request, send_from_directory, url_for
from werkzeug.security import safe_join

from portal.infra.storage import IMMUTABLE
from portal.pages import compression

TEXTS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}  # what gets smaller by packing

blueprint = Blueprint("assets", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.add_template_global(static_url)


def static_url(name: str) -> str:
    """Return the address of a file in `static/`.

    The version stands in the path and not in a query, so that what a stylesheet or a module names
    relatively (fonts, other modules) has it too: a module fetched under two addresses would run twice.
    """
    return url_for("assets.versioned", version=_version(), name=name)


@blueprint.get("/static/v-<version>/<path:name>")
def versioned(version: str, name: str) -> Response:
    """Answer with the file as it is now; kept for good only under the address that belongs to it."""
    response = _text(name) if PurePath(name).suffix in TEXTS else send_from_directory(_folder(), name)
    response.headers["Cache-Control"] = IMMUTABLE if version == _version() else "no-cache"
    return response


def _text(name: str) -> Response:
    """A text, packed where that is welcome: two forms of it, so each has an ETag of its own."""
    is_packed = compression.is_welcome()
    response = Response(_forms(_version(), name)[is_packed], mimetype=TEXTS[PurePath(name).suffix])
    response.vary.add("Accept-Encoding")
    if is_packed:
        response.content_encoding = "gzip"
    response.add_etag()
    response.make_conditional(request)
    return response


@lru_cache(maxsize=64)
def _forms(_version: str, name: str) -> tuple[bytes, bytes]:
    """Return a text of this version plain and packed: done once for each version, so as tightly as can be."""
    path = safe_join(_folder(), name)
    if path is None or not Path(path).is_file():
        abort(404)
    data = Path(path).read_bytes()
    if name.startswith("js/"):
        data = minified(data.decode()).encode()
    elif name.startswith("css/"):
        data = stylesheet(Path(path)).encode()
    return data, compression.pack(data, 9)


def minified(module: str) -> str:
    """Leave out a module's comments and layout, a fifth of what a phone would load.

    No template literal may stand inside another: rjsmin would take the text of the inner one for code.
    """
    return str(rjsmin.jsmin(module))


def stylesheet(path: Path) -> str:
    """Return a stylesheet with the files that it imports in place, without comments and indentation.

    The comments are a fifth of what would travel. They are dropped by a parser: rcssmin also drops the space in
    `.tile:hover :is(…)`, since it takes a rule inside `@layer` for a declaration.
    """
    tokens = tinycss2.parse_component_value_list(_joined(path), skip_comments=True)
    lines = map(str.strip, tinycss2.serialize(tokens).splitlines())
    return "\n".join(filter(None, lines))


def _joined(path: Path) -> str:
    """Return the text of a stylesheet with each `@import "…";` replaced by that file."""
    return re.sub(r'^@import "(.+)";$', lambda found: _joined(path.parent / found[1]), path.read_text(), flags=re.M)


def _version() -> str:
    """Return the fingerprint of all static files together; while developing, taken anew each time."""
    return _fingerprint.__wrapped__(_folder()) if current_app.debug else _fingerprint(_folder())


@lru_cache(maxsize=1)
def _fingerprint(folder: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(folder)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _folder() -> str:
    assert current_app.static_folder
    return current_app.static_folder
