"""The request as `htmx_flask` reads it: `request.htmx` is true where htmx asks for a part of a page."""

from typing import cast

import flask
from htmx_flask.requests import HtmxAwareRequest

request = cast(HtmxAwareRequest, flask.request)
"""`htmx_flask.request`, whose type mypy takes for Flask's own."""
