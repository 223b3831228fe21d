"""What the views and the shortcut have in common: shapes of keys, ETags, cache lifetimes, what a request asks for."""

import re
from functools import lru_cache
from hashlib import sha256

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from portal.errors import Invalid

UUID = "[0-9a-f-]{36}"
IMAGE_KEY = re.compile(rf"(?:properties/[0-9]+|derived/{UUID})/{UUID}-(?:lg|thumb|[0-9]+)\.(?:webp|jpg|avif)")
LISTING_KEY = re.compile(  # Image CDN contract: thumbnail_{hash}.{ext} and gallery/{position}_{hash}.{ext}
    rf"{UUID}/{UUID}/(?:thumbnail|gallery/[0-9]+)_[0-9a-f]{{32}}\.(?:jpg|png|webp|gif|avif|heic)"
)
MAX_WIDTH_PX = 100_000
PROVISIONAL = "public, max-age=60"  # a better rendition is being made
HARMLESS = {  # keep delivered files from ever running as a page, even if one were not an image
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def etag_of(key: str) -> str:
    """Return the ETag of an object. Keys are never overwritten with other bytes, so a key identifies its content."""
    return sha256(key.encode()).hexdigest()[:32]


@lru_cache(maxsize=256)
def accepted(header: str) -> frozenset[str]:
    """Return the types that Accept names explicitly: `*/*` doesn't mean that a client can show AVIF."""
    types = parse_accept_header(header, MIMEAccept)
    return frozenset(name for name, quality in types if quality > 0 and "*" not in name)


def width(text: str | None) -> int | None:
    """Return the width in `?w=`, in pixels. Raises Invalid."""
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:7]) <= MAX_WIDTH_PX):
        raise Invalid("w must be a width in pixels, such as 640.")
    return int(text)
