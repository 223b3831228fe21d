"""What requests and answers are made of: strict types in, our spelling out."""

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

MAX_BODY_BYTES = 256 * 1024  # a confirm-batch of 20 with the longest alt texts has 60 kB
MAX_ITEMS = 20  # seed B: "Up to 20 entries per call", "Up to 20 IDs per call"


def _storable(text: str) -> str:
    """Refuse what a database can't keep: NUL (PostgreSQL), half a surrogate pair (no UTF-8)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("unicode", "Text must be well-formed Unicode") from None
    if "\0" in text:
        raise PydanticCustomError("nul", "Text can't contain the character NUL")
    return text


def _iso(moment: datetime) -> str:
    """2026-05-08T12:00:00.000Z, as seed B writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Text = Annotated[str, AfterValidator(_storable)]
Moment = Annotated[datetime, PlainSerializer(_iso, return_type=str)]


class Body(BaseModel):
    """camelCase outside, snake_case inside; "12", true and 1.5 are no integers; unknown fields pass."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, alias_generator=to_camel)


class Data(Body):
    """What we answer: made here, under our own names."""

    model_config = ConfigDict(populate_by_name=True)


def _as_seed_a(name: str) -> str:
    """Spell a name as seed A does: thumbnailURL, listingID, enableImagesCDN (contract.md, X17)."""
    return re.sub("(?:Url|Id|Cdn)$", lambda found: found[0].upper(), to_camel(name))


class BodyA(Body):
    """A body in seed A's spelling."""

    model_config = ConfigDict(alias_generator=_as_seed_a)


class DataA(Data):
    """What we answer, in seed A's spelling."""

    model_config = ConfigDict(alias_generator=_as_seed_a)


class PropertyFields(Body):
    """What a property is, beside its gallery; the limits are the domain's (portal/images/properties.py)."""

    name: Text | None = Field(None, description="1 to 200 characters.")
    address: Text | None = Field(None, description="Max 300 characters.")
    bedrooms: int | None = None
    bathrooms: float | None = None
    sleeps: int | None = None
    external_ref: Text | None = Field(None, description="Your own name for it. Max 120 characters.")

    @property
    def fields(self) -> dict[str, Any]:
        """What is changed of the property itself."""
        return self.model_dump(include={*properties.TEXTS, *properties.NUMBERS}, exclude_unset=True)


class Path(Body):
    """The parameters of a path."""


class Query(Body):
    """The parameters of a query string, where every value is text to begin with."""

    model_config = ConfigDict(strict=False)


class Error(BaseModel):
    """One failure: a stable word for programs, a sentence for people, and what it is about."""

    code: str = Field(examples=["quota_exceeded"])
    message: str
    details: dict[str, Any] | None


class ErrorAnswer(BaseModel):
    error: Error


STATUSES = (400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503)
ERRORS: dict[Any, Any] = dict.fromkeys(STATUSES, ErrorAnswer)
"""Every failure has the same form, whoever found it (contract.md, B23)."""
IMAGE_CDN_ERRORS: dict[Any, Any] = dict.fromkeys(STATUSES, Error)
"""The same bare, as all of seed A's answers are."""


def read() -> None:
    """Read the body of a write before anything looks at it: 415 and 400 first, then its fields (422).

    Raises RequestEntityTooLarge past MAX_BODY_BYTES.
    """
    request.max_content_length = MAX_BODY_BYTES
    if request.method == "OPTIONS" or not _wants_body(current_app.view_functions[request.endpoint or ""]):
        return
    if not request.is_json:
        raise UnsupportedMediaType("Send the body as JSON, with Content-Type: application/json.")
    json_object()


def json_object() -> dict[str, Any]:
    """Return the body, a JSON object. Raises BadRequest, Invalid, RequestEntityTooLarge."""
    request.max_content_length = MAX_BODY_BYTES
    if request.content_length not in (None, len(request.get_data())):
        raise BadRequest("The body broke off.")
    found = _parsed(request)
    if not isinstance(found, dict):
        raise Invalid("The body must be a JSON object.", code="fields")
    return found


@lru_cache
def _wants_body(view: Callable[..., Any]) -> bool:
    """Whether a route has a body: its view says so, not its method (DELETE …/images has one)."""
    return "body" in signature(view).parameters


def _parsed(request: Request) -> Any:
    """Return the JSON; Flask keeps it, so that it is parsed once."""
    try:
        return request.get_json()
    except BadRequest:
        raise BadRequest("The body is not JSON.") from None
    except RecursionError:  # 10,000 brackets deep (case K12)
        raise BadRequest("The body is nested too deeply.") from None


def example(value: dict[str, Any]) -> ConfigDict:
    """Have the documentation show this body, as the contract prints it."""
    return ConfigDict(json_schema_extra={"examples": [value]})


def answer(body: BaseModel, status: int = 200, location: str | None = None) -> Response:
    response = Response(body.model_dump_json(by_alias=True), status, mimetype="application/json")
    if location:
        response.headers["Location"] = location
    return response
