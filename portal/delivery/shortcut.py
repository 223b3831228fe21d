"""GET /images/… and /cdn/… from the disk cache, before Flask: one SQL statement and one file.

A shortcut for what galleries request most; DECISIONS.md has its figures. It passes on whatever it can't answer to the
views in `images`, which answer everything: other methods, ranges, objects that are not in the cache, renditions still
to be made, errors. The statement runs for each request, so that a deleted photo is gone immediately.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from flask import Flask
from sqlalchemy import ColumnElement, Integer, String, and_, bindparam, literal, not_, select, union_all
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.http import parse_etags

from portal import config
from portal.db import db
from portal.delivery import rules
from portal.images.models import READY, Image, Rendition
from portal.images.variants.renditions import AVIF, JPEG, LARGE_PX, WEBP, rendition_width
from portal.infra.disk_cache import DiskCache
from portal.infra.quick_select import Query, QuickSelect
from portal.infra.storage import IMMUTABLE
from portal.inventory import StoredObject
from portal.listings.catalogue import referring_to

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

IMAGE_PATH = re.compile(rf"/(images/{rules.UUID}/{rules.UUID}/{rules.UUID}\.[a-z]+)")
WIDTH_QUERY = re.compile(r"(?:w=([1-9][0-9]{0,4}))?")  # others are rare, or wrong
UNUSUAL = ("HTTP_RANGE", "HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE")
KEY: ColumnElement[str] = bindparam("key", type_=String)
WIDTH: ColumnElement[int] = bindparam("width", type_=Integer)


class Answer(NamedTuple):
    """A response that is complete."""

    status: str
    headers: dict[str, str]
    data: bytes


class Hit(NamedTuple):
    """An object of the CDN bucket that answers a request."""

    key: str
    type: str
    sha256: str | None
    size_bytes: int | None


def init_app(app: Flask) -> None:
    """Put the shortcut before the app. Must be called within its context."""
    app.wsgi_app = config.parts()["shortcut"] = Shortcut(app.wsgi_app)  # type: ignore[method-assign]


class Shortcut:
    """A WSGI app that answers what it can, and passes the rest on."""

    def __init__(self, behind: Wsgi) -> None:
        self._behind = behind
        self._cache: DiskCache = config.parts()["cache"]
        self._forms = QuickSelect(db.engine, _forms())
        self._published = {pattern: QuickSelect(db.engine, query) for pattern, query in _published().items()}

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if answer := self.find(environ):
            start_response(answer.status, list(answer.headers.items()))
            return [answer.data]
        return self._behind(environ, start_response)

    def find(self, environ: Environ) -> Answer | None:
        """Return what the cache answers to a request; None if it is for the app. Never asks the bucket."""
        path = environ.get("PATH_INFO", "")
        if not path.startswith(("/images/", "/cdn/")) or environ["REQUEST_METHOD"] != "GET":
            return None
        if any(name in environ for name in UNUSUAL):
            return None
        is_image = path.startswith("/images/")
        try:
            hit = self._best(path, environ) if is_image else self._stored(path.removeprefix("/cdn/"))
        except SQLAlchemyError:
            return None  # the view reports it, if it lasts
        if hit is None or hit.sha256 is None or hit.size_bytes is None:
            return None
        etag = rules.etag_of(hit.key)
        headers = {"ETag": f'"{etag}"', "Cache-Control": IMMUTABLE, **rules.HARMLESS}
        if is_image:
            headers["Vary"] = "Accept"
        if_none_match = environ.get("HTTP_IF_NONE_MATCH")
        if if_none_match and parse_etags(if_none_match).contains_weak(etag):
            return Answer("304 NOT MODIFIED", headers, b"")
        data = self._cache.get(hit.sha256, hit.size_bytes)
        if data is None:
            return None
        body = {"Content-Type": hit.type, "Content-Length": str(len(data)), "Accept-Ranges": "bytes"}
        return Answer("200 OK", headers | body, data)

    def _best(self, path: str, environ: Environ) -> Hit | None:
        """Return what `renditions.best` does, if that exists and no better form is to be made."""
        image, query = IMAGE_PATH.fullmatch(path), WIDTH_QUERY.fullmatch(environ.get("QUERY_STRING", ""))
        if not image or not query:
            return None
        rows = self._forms.rows(key=image[1], width=rendition_width(int(query[1]) if query[1] else None))
        hits = {form: Hit(*columns) for form, _, *columns in rows}
        accepts = rules.accepted(environ.get("HTTP_ACCEPT", ""))
        if AVIF in accepts and rows and rows[0][1] == READY:
            return hits.get(AVIF)
        return hits.get(WEBP if WEBP in accepts else JPEG)

    def _stored(self, key: str) -> Hit | None:
        """Return a published object as the view `stored` does."""
        for pattern, query in self._published.items():
            if pattern.fullmatch(key):
                return next((Hit(*row) for row in query.rows(key=key)), None)
        return None


OBJECT = (StoredObject.key, StoredObject.type, StoredObject.sha256, StoredObject.size_bytes)  # as in Hit


def _forms() -> Query:
    """Select the stored forms of an image's current version in one width, at most one of each type."""
    is_large = and_(Rendition.type == WEBP, Rendition.width == LARGE_PX, Image.large_key.is_not(None))
    renditions = (
        select(Rendition.type, Image.variants, *OBJECT)
        .join(Rendition, and_(Rendition.image_id == Image.id, Rendition.version == Image.version))
        .join(StoredObject, _is_row_of(Rendition.key))
        .where(Image.key == KEY, Rendition.width == WIDTH, not_(is_large))
    )
    large = (
        select(literal(WEBP), Image.variants, *OBJECT)
        .join(StoredObject, _is_row_of(Image.large_key))
        .where(Image.key == KEY, WIDTH == LARGE_PX)
    )
    return union_all(renditions, large)


def _published() -> dict[re.Pattern[str], Query]:
    """Select an object of the CDN bucket, for each shape of key. A listing's copy must be referred to."""
    return {
        rules.IMAGE_KEY: select(*OBJECT).where(_is_row_of(KEY)),
        rules.LISTING_KEY: select(*OBJECT).where(_is_row_of(KEY), referring_to(KEY).exists()),
    }


def _is_row_of(key: Any) -> ColumnElement[bool]:
    """Match an object of the CDN bucket, damaged or not: the bytes in the cache are right."""
    return and_(StoredObject.bucket == "cdn", StoredObject.key == key)
