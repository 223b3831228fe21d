"""Parts of pages that ask for themselves once a second: `hx-trigger="tick from:body"`."""

import hashlib

from flask import Response, request


def fragment(html: str) -> Response:
    """Answer with a page's live part, or with 304 while that is what the reader sees already."""
    tag = hashlib.sha256(html.encode()).hexdigest()[:20]
    if request.headers.get("HX-PTag") == tag:
        return Response(status=304)
    return Response(html, headers={"HX-PTag": tag})
