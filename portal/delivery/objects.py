"""Answers with the bytes of stored objects, which are compared with their rows before they are sent."""

import hashlib
from collections.abc import Iterator

from flask import Response, request
from werkzeug.exceptions import PreconditionFailed, RequestedRangeNotSatisfiable

from portal import inventory
from portal.delivery.rules import etag_of
from portal.errors import Invalid, StorageFailed
from portal.infra.disk_cache import cache
from portal.infra.storage import Bucket, Opened
from portal.inventory import CHANGED, MISSING, Damaged, Facts
from portal.pixels.inspect import inspect
from portal.pixels.rejection import is_transient
from portal.work import best_effort, work

SMALL_BYTES = 4 * 1024 * 1024  # up to this size, objects are read whole, compared, and kept in the cache
CHUNK_BYTES = 256 * 1024


def answer(bucket: Bucket, facts: Facts) -> Response:
    """Answer with an object's bytes, or 304, 206, 412, 416.

    Raises Damaged, StorageFailed; uses no database connection.
    """
    etag = etag_of(facts.key)
    if request.if_match and not request.if_match.contains(etag):
        raise PreconditionFailed
    if request.if_none_match.contains_weak(etag):  # RFC 9110, section 13.1.2
        response = Response(status=304)
        response.set_etag(etag)
        return response
    if facts.size_bytes is None or facts.size_bytes <= SMALL_BYTES:
        data = load(bucket, facts)
        wanted = _range(etag, len(data))
        return _response(data[slice(*wanted)] if wanted else data, facts, len(data), wanted)
    if facts.damage:  # its bytes are not compared while they are streamed
        raise Damaged(bucket, facts.key, facts.damage)
    wanted = _range(etag, facts.size_bytes)
    opened = _open(bucket, facts, wanted)
    response = _response(_chunks(opened), facts, facts.size_bytes, wanted)
    response.call_on_close(opened.close)
    return response


def load(bucket: Bucket, facts: Facts) -> bytes:
    """Return an object's bytes: from the cache, or from the bucket after comparing them. Raises Damaged."""
    if facts.sha256 and facts.size_bytes is not None:
        cached = cache.get(facts.sha256, facts.size_bytes)
        if cached is not None:
            return cached
    data = inventory.verified(bucket, facts)
    if facts.sha256:
        cache.put(facts.sha256, data)
        return data
    try:
        inspect(data)
    except Invalid as unknown:  # all that can be known before the audit has taken its hash
        if is_transient(unknown):
            raise
        raise Damaged(bucket, facts.key, CHANGED) from unknown
    return data


def _response(body: bytes | Iterator[bytes], facts: Facts, size_bytes: int, wanted: tuple[int, int] | None) -> Response:
    """Answer with an object, or with the wanted range of it."""
    first, end = wanted or (0, size_bytes)
    response = Response(body, 206 if wanted else 200, content_type=facts.type)
    response.content_length = end - first
    response.set_etag(etag_of(facts.key))
    response.headers["Accept-Ranges"] = "bytes"
    if wanted:
        response.headers["Content-Range"] = f"bytes {first}-{end - 1}/{size_bytes}"
    return response


def _range(etag: str, size_bytes: int) -> tuple[int, int] | None:
    """Return the wanted bytes as start and end, end excluded; None for all. Raises RequestedRangeNotSatisfiable.

    Several ranges in one request are answered with the whole object, which RFC 9110, section 14.2, allows.
    """
    given = request.range
    if given is None or given.units != "bytes" or len(given.ranges) > 1:
        return None
    if_range = request.if_range
    if (if_range.etag is not None and if_range.etag != etag) or if_range.date is not None:
        return None
    wanted = given.range_for_length(size_bytes)
    if wanted is None:
        raise RequestedRangeNotSatisfiable(size_bytes)
    return wanted


def _open(bucket: Bucket, facts: Facts, wanted: tuple[int, int] | None) -> Opened:
    """Open an object that has the ETag of its row, or whose bytes are right under another one."""
    opened = bucket.open(facts.key, etag=facts.etag, wanted=wanted)
    if opened is None:
        raise Damaged(bucket, facts.key, MISSING)
    if opened.is_changed:
        etag = _etag_if_right(bucket, facts)
        opened = bucket.open(facts.key, etag=etag, wanted=wanted) if etag else None
        if opened is None or opened.is_changed:
            raise Damaged(bucket, facts.key, CHANGED)
    return opened


def _etag_if_right(bucket: Bucket, facts: Facts) -> str | None:
    """Compare a large object's bytes with its row, in constant memory; if they are right, record its new ETag.

    A bucket may give the same bytes another ETag, for example after a move.
    """
    opened = bucket.open(facts.key) if facts.sha256 else None
    if opened is None:
        return None
    digest = hashlib.sha256()
    for chunk in _chunks(opened):
        digest.update(chunk)
    if digest.hexdigest() != facts.sha256:
        return None
    best_effort(_record_etag, bucket, facts.key, opened.etag)
    return opened.etag


def _record_etag(bucket: Bucket, key: str, etag: str) -> None:
    with work():
        inventory.set_etag(bucket, key, etag)


def _chunks(opened: Opened) -> Iterator[bytes]:
    """Yield an object's bytes. A bucket that stops midway ends the connection early, which the client notices."""
    try:
        yield from opened.body.iter_chunks(CHUNK_BYTES)
    except Exception as error:
        raise StorageFailed("The photo storage stopped midway.", details=type(error).__name__) from error
    finally:
        opened.close()
