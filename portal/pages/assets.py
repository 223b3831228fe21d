"""Static files at URLs that change with their content, so browsers may cache them forever."""

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

TEXTS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}  # the types worth compressing

blueprint = Blueprint("assets", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.add_template_global(static_url)


def static_url(name: str) -> str:
    """Return the versioned URL of a file in `static/`.

    The version is in the path rather than the query, so relative URLs in stylesheets and modules include it
    too. A module fetched from two URLs would run twice.
    """
    return url_for("assets.versioned", version=_version(), name=name)


@blueprint.get("/static/v-<version>/<path:name>")
def versioned(version: str, name: str) -> Response:
    """Return the current file. Only its current version may be cached forever."""
    response = _text(name) if PurePath(name).suffix in TEXTS else send_from_directory(_folder(), name)
    response.headers["Cache-Control"] = IMMUTABLE if version == _version() else "no-cache"
    return response


def _text(name: str) -> Response:
    """Return a text file, compressed if the client accepts it. Each form has a separate ETag."""
    is_compressed = compression.client_accepts_gzip()
    response = Response(_forms(_version(), name)[is_compressed], mimetype=TEXTS[PurePath(name).suffix])
    response.vary.add("Accept-Encoding")
    if is_compressed:
        response.content_encoding = "gzip"
    response.add_etag()
    response.make_conditional(request)
    return response


@lru_cache(maxsize=64)
def _forms(_version: str, name: str) -> tuple[bytes, bytes]:
    """Return a text file plain and compressed, at the highest level since it is done once per version."""
    path = safe_join(_folder(), name)
    if path is None or not Path(path).is_file():
        abort(404)
    data = Path(path).read_bytes()
    if name.startswith("js/"):
        data = minified(data.decode()).encode()
    elif name.startswith("css/"):
        data = stylesheet(Path(path)).encode()
    return data, compression.gzipped(data, 9)


def minified(module: str) -> str:
    """Return a module without comments and whitespace, which make up a fifth of what a phone would load.

    Template literals must not be nested: rjsmin would treat the text of the inner one as code.
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
    """Return a fingerprint of all static files, recomputed on each call in debug mode."""
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
