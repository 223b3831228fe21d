"""Live parts of pages, which poll once a second: `hx-trigger="tick from:body"`."""

import hashlib

from flask import Response, request


def fragment(html: str) -> Response:
    """Return a page's live part, or 304 if the page already shows it."""
    tag = hashlib.sha256(html.encode()).hexdigest()[:20]
    if request.headers.get("HX-PTag") == tag:
        return Response(status=304)
    return Response(html, headers={"HX-PTag": tag})
