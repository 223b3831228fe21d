"""Base models and helpers for request and response bodies: strict types in, camelCase out."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from inspect import signature
from typing import Annotated, Any

from flask import Request, Response, current_app, request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from portal.errors import Invalid
from portal.images import properties

MAX_BODY_BYTES = 256 * 1024  # a confirm-batch of 20 with the longest alt texts is 60 kB
MAX_ITEMS = 20  # per call: Property Images API, "Batch Upload", "Delete Images", "Reorder Images"


def _storable(text: str) -> str:
    """Reject text that the database can't store: NUL (PostgreSQL) and lone surrogates (not valid UTF-8)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("unicode", "Text must be valid Unicode") from None
    if "\0" in text:
        raise PydanticCustomError("nul", "Text must not contain the NUL character")
    return text


def _iso(moment: datetime) -> str:
    """Format a moment as 2026-05-08T12:00:00.000Z (Property Images API, "Poll Import Job")."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Text = Annotated[str, AfterValidator(_storable)]
Moment = Annotated[datetime, PlainSerializer(_iso, return_type=str)]


class Body(BaseModel):
    """A request body: camelCase in JSON, strict types ("12", true and 1.5 are not integers), unknown fields ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, alias_generator=to_camel)


class Data(Body):
    """A response body, constructed with snake_case names."""

    model_config = ConfigDict(populate_by_name=True)


def _image_cdn_alias(name: str) -> str:
    """Return a field's name as the Image CDN contract spells it: thumbnailURL, listingID, enableImagesCDN."""
    return re.sub("(?:Url|Id|Cdn)$", lambda found: found[0].upper(), to_camel(name))


class ImageCdnBody(Body):
    """A request body with Image CDN field names."""

    model_config = ConfigDict(alias_generator=_image_cdn_alias)


class ImageCdnData(Data):
    """A response body with Image CDN field names."""

    model_config = ConfigDict(alias_generator=_image_cdn_alias)


class PropertyFields(Body):
    """The fields of a property. Limits are enforced in portal/images/properties.py."""

    name: Text | None = Field(None, description="1 to 200 characters.")
    address: Text | None = Field(None, description="Max 300 characters.")
    bedrooms: int | None = None
    bathrooms: float | None = None
    sleeps: int | None = None
    external_ref: Text | None = Field(None, description="Your own reference for the property. Max 120 characters.")

    @property
    def fields(self) -> dict[str, Any]:
        """Return the fields that were sent."""
        return self.model_dump(include={*properties.TEXTS, *properties.NUMBERS}, exclude_unset=True)


class Path(Body):
    """Path parameters."""


class Query(Body):
    """Query parameters. Not strict, since every value arrives as text."""

    model_config = ConfigDict(strict=False)


class Error(BaseModel):
    """An error: a stable code for programs, a message for people, and optional details."""

    code: str = Field(examples=["quota_exceeded"])
    message: str
    details: dict[str, Any] | None


class ErrorAnswer(BaseModel):
    error: Error


STATUSES = (400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503)
ERRORS: dict[Any, Any] = dict.fromkeys(STATUSES, ErrorAnswer)
"""The error responses of the Property Images API: every status has the same body."""
IMAGE_CDN_ERRORS: dict[Any, Any] = dict.fromkeys(STATUSES, Error)
"""The error responses of the Image CDN dialect: the bare error object, without an envelope."""


def read() -> None:
    """Parse the JSON body before its fields are validated, so that 415 and 400 take precedence over 422.

    Raises UnsupportedMediaType, BadRequest, Invalid, and RequestEntityTooLarge beyond MAX_BODY_BYTES.
    """
    request.max_content_length = MAX_BODY_BYTES
    if request.method == "OPTIONS" or not _wants_body(current_app.view_functions[request.endpoint or ""]):
        return
    if not request.is_json:
        raise UnsupportedMediaType("Send the body as JSON with Content-Type: application/json.")
    json_object()


def json_object() -> dict[str, Any]:
    """Return the request body, a JSON object. Raises BadRequest, Invalid, RequestEntityTooLarge."""
    request.max_content_length = MAX_BODY_BYTES
    if request.content_length not in (None, len(request.get_data())):
        raise BadRequest("The request body was truncated.")
    found = _parsed(request)
    if not isinstance(found, dict):
        raise Invalid("The request body must be a JSON object.", code="fields")
    return found


@lru_cache
def _wants_body(view: Callable[..., Any]) -> bool:
    """Return whether a view takes a body. The HTTP method can't tell: DELETE …/images has one."""
    return "body" in signature(view).parameters


def _parsed(request: Request) -> Any:
    """Return the parsed JSON. Flask caches it, so it is parsed only once."""
    try:
        return request.get_json()
    except BadRequest:
        raise BadRequest("The request body is not valid JSON.") from None
    except RecursionError:  # thousands of nested brackets
        raise BadRequest("The request body is nested too deeply.") from None


def example(value: dict[str, Any]) -> ConfigDict:
    """Return a model config that makes the API docs show this example."""
    return ConfigDict(json_schema_extra={"examples": [value]})


def answer(body: BaseModel, status: int = 200, location: str | None = None, *, omit_unset: bool = False) -> Response:
    """Return a JSON response with a body, a status and, if given, a Location header.

    `omit_unset` leaves out the fields that were not passed to the models of the body.
    """
    text = body.model_dump_json(by_alias=True, exclude_unset=omit_unset)
    response = Response(text, status, mimetype="application/json")
    if location:
        response.headers["Location"] = location
    return response
