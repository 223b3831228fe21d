"""Dialects: for each contract its own envelope, names and statuses, whoever raised the error.

A dialect speaks for everything under its prefix: what its blueprints raise, what the framework raises there
(404, 405, 413, 415, 429, 500), and the paths that no route knows.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from uuid import uuid4

from flask import Response, jsonify, request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.openapi import OpenAPI
from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import ObjectDeletedError
from werkzeug.exceptions import BadRequest, HTTPException, NotFound, default_exceptions
from werkzeug.routing import RequestRedirect

from portal import errors
from portal.accounts import idempotency
from portal.errors import Problem
from portal.images.variants import rendering
from portal.infra.multipart import BROKEN_BODY
from portal.infra.statuses import status_of

log = logging.getLogger(__name__)

STORAGE_RETRY_S = 5  # seconds that a client waits before it tries a storage or database that was away
READS = ("GET", "HEAD")


@dataclass(frozen=True)
class Failure:
    """What went wrong, before a dialect gives it a form."""

    status: int
    code: str
    message: str
    details: Any = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Dialect:
    """One contract: where it lives, which status a problem has there, and how a failure is written."""

    prefixes: tuple[str, ...]
    status: Callable[[Problem], int]
    body: Callable[[Failure], dict[str, Any]]

    def owns(self, path: str) -> bool:
        return any(path == prefix or path.startswith(f"{prefix}/") for prefix in self.prefixes)

    def answer(self, failure: Failure) -> Response:
        response = jsonify(self.body(failure))
        response.status_code = failure.status
        response.headers.update(failure.headers or {})
        return response


def _image_cdn_status(problem: Problem) -> int:
    """Seed A names no status: what is not there is a 404, whatever was to be done with it."""
    return status_of(problem, {Problem: 422})


def _image_cdn_body(failure: Failure) -> dict[str, Any]:
    """Seed A's answers are bare objects, and so are its failures (contract.md, X2)."""
    return {"code": failure.code, "message": failure.message, "details": failure.details}


IMAGE_CDN = Dialect(("/api/v1/integration-definition", "/api/v1/listings"), _image_cdn_status, _image_cdn_body)


def _property_images_status(problem: Problem) -> int:
    """Seed B: 422 for a property not found, a type and a quota; on reads an absence is a 404 (X3)."""
    is_read = request.method in READS
    return status_of(problem, {Problem: 422, errors.NotFound: 404 if is_read else 422})


def _property_images_body(failure: Failure) -> dict[str, Any]:
    """contract.md, B23."""
    return {"error": {"code": failure.code, "message": failure.message, "details": failure.details}}


PROPERTY_IMAGES = Dialect(("/api",), _property_images_status, _property_images_body)


def _manage_images_status(problem: Problem) -> int:
    """Seed C: 500 for an upload that fails and for an image that isn't there; the rest as everywhere (X3).

    Idempotency-Key is no word of seed C's: whoever knows the header knows its statuses, 422 too (B6).
    """
    if problem.code == idempotency.REUSED:
        return 422
    if problem.code in UPDATE_FAILED:
        return 500
    return status_of(problem, {Problem: 400, errors.Invalid: 400, errors.OverQuota: 400, errors.StorageFailed: 500})


def _manage_images_body(failure: Failure) -> dict[str, Any]:
    """Three keys, but for the 500 of a change: its two are the document's to the letter.

    There is no place for details, so the sentence names the fields that are wrong.
    """
    if failure.status == 500 and request.method not in READS:
        return {"success": False, "message": "Failed to update property"}
    named = failure.details.items() if failure.code == "fields" and failure.details else ()
    message = " ".join([failure.message, *(f"{name}: {what}" for name, what in named)])
    return {"success": False, "message": message, "data": None}


UPDATE_FAILED = {"image_not_found", rendering.FAILED}
MANAGE_IMAGES = Dialect(("/api/properties",), _manage_images_status, _manage_images_body)
ALL = (IMAGE_CDN, MANAGE_IMAGES, PROPERTY_IMAGES)  # the narrower prefixes first


def init_app(app: OpenAPI) -> None:
    """Let each dialect answer for the paths under its prefix that no route matches."""
    app.validation_error_callback = _refuse
    app.before_request(_answer_for_no_route)


def speak(blueprint: APIBlueprint, dialect: Dialect) -> None:
    """Have every failure inside a blueprint answered in a dialect.

    Each status by its number: a handler for a number on the app would win over one for all on the blueprint.
    """
    blueprint.register_error_handler(Problem, lambda error: dialect.answer(_of_problem(error, dialect)))
    for broken in BROKEN_BODY:
        blueprint.register_error_handler(
            broken, lambda _: dialect.answer(_of_framework(BadRequest("The body broke off.")))
        )
    gone = errors.NotFound("It was removed meanwhile.")  # between a look at a row and the next
    blueprint.register_error_handler(ObjectDeletedError, lambda _: dialect.answer(_of_problem(gone, dialect)))
    for away in (OperationalError, PoolTimeout):
        blueprint.register_error_handler(away, lambda error: dialect.answer(_of_database(error)))
    for status in default_exceptions:
        blueprint.register_error_handler(status, lambda error: dialect.answer(_of_framework(error)))


def _answer_for_no_route() -> Response | None:
    """Say 404 or 405 where routing failed; a redirect to a tidier path is a 404 (X10)."""
    error = request.routing_exception
    dialect = next((each for each in ALL if each.owns(request.path)), None)
    if error is None or dialect is None:
        return None
    return dialect.answer(_of_framework(NotFound() if isinstance(error, RequestRedirect) else error))


def _refuse(error: ValidationError) -> NoReturn:
    """Turn pydantic's finding into our Invalid: a sentence for each field, and nothing of what was sent."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    details: dict[str, Any] = {".".join(map(str, each["loc"])) or "body": f"{each['msg']}." for each in found}
    indexes = [part for each in found for part in each["loc"] if isinstance(part, int)]
    if indexes:
        details["index"] = indexes[0]  # the first of a batch that is wrong, as the domain names it too
    raise errors.Invalid("Some fields can't be used as they are.", code="fields", details=details)


def _of_problem(problem: Problem, dialect: Dialect) -> Failure:
    headers = {}
    status = dialect.status(problem)
    if status == 500:  # planned, so it must not look like a crash
        headers["X-Error-Id"] = error_id = uuid4().hex[:12]
        log.warning("%s: %s (%s, %s)", error_id, problem.message, problem.code, problem.details)
    elif isinstance(problem, errors.StorageFailed):
        log.warning("storage failed: %s (%s)", problem.message, problem.details)
    if isinstance(problem, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(problem, errors.TooMany):
        headers["Retry-After"] = str(problem.retry_after_s)
    elif isinstance(problem, errors.Conflict):
        headers["Retry-After"] = "1"
    elif isinstance(problem, errors.StorageFailed):
        headers["Retry-After"] = str(STORAGE_RETRY_S)
        return Failure(status, problem.code, problem.message, headers=headers)
    return Failure(status, problem.code, problem.message, _spelled(problem.details), headers)


def _of_database(error: SQLAlchemyError) -> Failure:
    log.warning("the database did not answer", exc_info=error)
    message = "The database did not answer. Try again."
    return Failure(503, "unavailable", message, headers={"Retry-After": str(STORAGE_RETRY_S)})


def _of_framework(error: HTTPException) -> Failure:
    status = error.code or 500
    code = re.sub(r"\W+", "_", error.name).lower()
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return Failure(status, code, SENTENCES.get(status) or error.description or error.name, headers=headers)


SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not take that method; the Allow header names those it takes.",
    413: "The request is too large.",
    429: "Too many requests. Try again when the Retry-After header says.",
    500: "Something went wrong on our side.",
}


def _spelled(details: Any) -> Any:
    """Spell the fields that the domain names as this entrance does: external_ref → externalRef."""
    if not isinstance(details, dict):
        return details
    return {to_camel(name) if "_" in name else name: value for name, value in details.items()}
