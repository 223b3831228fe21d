"""The request with `htmx_flask`'s type: `request.htmx` is true if htmx requests a part of a page."""

from typing import cast

import flask
from htmx_flask.requests import HtmxAwareRequest

request = cast(HtmxAwareRequest, flask.request)
"""`htmx_flask.request`, which mypy would otherwise type as Flask's request."""
