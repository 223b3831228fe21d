"""Pages travel compressed: a gallery of 300 photos is 260 KB of text, and a second and a half on a slow line."""

import gzip

from flask import Flask, Response, request

from portal.pages.security import is_page

LEVEL = 6
LEAST_BYTES = 1000  # less goes out in one packet anyway
OUR_READERS = {"same-origin", "none"}  # Sec-Fetch-Site of what no other site has asked for


def init_app(app: Flask) -> None:
    app.after_request(compress)


def compress(response: Response) -> Response:
    """Compress a page or fragment, unless another site may have made the browser ask for it.

    Somebody who can both make a browser ask again and again and watch how long the answers are could guess
    what is in them (BREACH). So a request that another site's page set off gets its page as it is; photos are
    compressed already, and the API's answers are left to the proxy in front.
    """
    if not is_page() or response.mimetype != "text/html" or response.direct_passthrough:
        return response
    response.vary.add("Accept-Encoding")
    is_ours = request.headers.get("Sec-Fetch-Site") in OUR_READERS
    if is_ours and is_welcome() and len(data := response.get_data()) >= LEAST_BYTES:
        response.set_data(pack(data, LEVEL))
        response.content_encoding = "gzip"
    return response


def is_welcome() -> bool:
    return request.accept_encodings["gzip"] > 0


def pack(data: bytes, level: int) -> bytes:
    return gzip.compress(data, level, mtime=0)  # the same bytes each time
