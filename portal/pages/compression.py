"""Compression of pages: a gallery of 300 photos is 260 KB of HTML, 1.5 seconds on a slow connection."""

import gzip

from flask import Flask, Response, request

from portal.pages.security import is_page

LEVEL = 6
MIN_BYTES = 1000  # less fits into one packet anyway
SAME_SITE = {"same-origin", "none"}  # Sec-Fetch-Site of requests that no other site triggered


def init_app(app: Flask) -> None:
    app.after_request(compress)


def compress(response: Response) -> Response:
    """Compress a page or fragment, unless another site may have triggered the request.

    An attacker who can trigger requests from a browser and observe the length of the responses could guess
    their content (BREACH). So requests triggered by other sites get uncompressed pages. Photos are already
    compressed, and compressing API responses is left to the reverse proxy.
    """
    if not is_page() or response.mimetype != "text/html" or response.direct_passthrough:
        return response
    response.vary.add("Accept-Encoding")
    is_same_site = request.headers.get("Sec-Fetch-Site") in SAME_SITE
    if is_same_site and client_accepts_gzip() and len(data := response.get_data()) >= MIN_BYTES:
        response.set_data(gzipped(data, LEVEL))
        response.content_encoding = "gzip"
    return response


def client_accepts_gzip() -> bool:
    return request.accept_encodings["gzip"] > 0


def gzipped(data: bytes, level: int) -> bytes:
    return gzip.compress(data, level, mtime=0)  # without a timestamp: the same bytes each time
