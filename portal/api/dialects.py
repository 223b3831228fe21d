"""Dialects: the error envelope, field names and HTTP statuses of each contract.

A dialect handles every error under its path prefixes: those raised by its blueprints, those raised by the
framework (404, 405, 413, 415, 429, 500), and requests for unknown paths.
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
from werkzeug.exceptions import HTTPException, NotFound, default_exceptions
from werkzeug.routing import RequestRedirect

from portal import errors
from portal.accounts import idempotency
from portal.db import is_disk_full
from portal.errors import Problem
from portal.images.variants import rendering
from portal.infra.statuses import STORAGE_RETRY_S, status_of

log = logging.getLogger(__name__)

READS = ("GET", "HEAD")


@dataclass(frozen=True)
class Failure:
    """An error, before a dialect renders it."""

    status: int
    code: str
    message: str
    details: Any = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Dialect:
    """A contract's path prefixes, its status for each problem, and its error body."""

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
    """Return a problem's status: 404 for anything missing, on writes too. The Image CDN contract names none."""
    return status_of(problem, {Problem: 422})


def _image_cdn_body(failure: Failure) -> dict[str, Any]:
    """Return a bare error object: the Image CDN contract has no envelope."""
    return {"code": failure.code, "message": failure.message, "details": failure.details}


IMAGE_CDN = Dialect(("/api/v1/integration-definition", "/api/v1/listings"), _image_cdn_status, _image_cdn_body)


def _property_images_status(problem: Problem) -> int:
    """Return 422 for a missing property, a disallowed type or a full quota, but 404 for anything missing on reads."""
    is_read = request.method in READS
    return status_of(problem, {Problem: 422, errors.NotFound: 404 if is_read else 422})


def _property_images_body(failure: Failure) -> dict[str, Any]:
    """Return the error object in an `error` envelope. The Property Images API leaves the format open."""
    return {"error": {"code": failure.code, "message": failure.message, "details": failure.details}}


PROPERTY_IMAGES = Dialect(("/api",), _property_images_status, _property_images_body)


def _manage_images_status(problem: Problem) -> int:
    """Return 500 for a failed upload and an unknown image id, as the Manage Property Images contract demands.

    The contract doesn't mention Idempotency-Key, so a reused key is a 422 as in the other dialects.
    """
    if problem.code == idempotency.REUSED:
        return 422
    if problem.code in UPDATE_FAILED:
        return 500
    return status_of(problem, {Problem: 400, errors.Invalid: 400, errors.OverQuota: 400, errors.StorageFailed: 500})


def _manage_images_body(failure: Failure) -> dict[str, Any]:
    """Return the contract's three keys, or, for a 500 on a write, the two keys that it prescribes verbatim.

    The envelope has no place for details, so the message names the invalid fields.
    """
    if failure.status == 500 and request.method not in READS:
        return {"success": False, "message": "Failed to update property"}
    named = failure.details.items() if failure.code == "fields" and failure.details else ()
    message = " ".join([failure.message, *(f"{name}: {what}" for name, what in named)])
    return {"success": False, "message": message, "data": None}


UPDATE_FAILED = {"image_not_found", rendering.FAILED}
MANAGE_IMAGES = Dialect(("/api/properties",), _manage_images_status, _manage_images_body)
ALL = (IMAGE_CDN, MANAGE_IMAGES, PROPERTY_IMAGES)  # longer prefixes first


def init_app(app: OpenAPI) -> None:
    """Register the handlers for validation errors and for paths under a dialect's prefix that match no route."""
    app.validation_error_callback = _raise_invalid
    app.before_request(_handle_unrouted)


def register_error_handlers(blueprint: APIBlueprint, dialect: Dialect) -> None:
    """Render every error of a blueprint in a dialect.

    Each status has its own handler, because an app's handler for a status would take precedence over a
    blueprint's handler for HTTPException.
    """
    blueprint.register_error_handler(Problem, lambda error: dialect.answer(_of_problem(error, dialect)))
    gone = errors.NotFound("It has just been deleted.")  # while the request was reading it
    blueprint.register_error_handler(ObjectDeletedError, lambda _: dialect.answer(_of_problem(gone, dialect)))
    for away in (OperationalError, PoolTimeout):
        blueprint.register_error_handler(away, lambda error: dialect.answer(_of_database(error, dialect)))
    for status in default_exceptions:
        blueprint.register_error_handler(status, lambda error: dialect.answer(_of_framework(error)))


def _handle_unrouted() -> Response | None:
    """Answer 404 or 405 if routing failed. A redirect becomes a 404: some clients drop the body of a redirected PUT."""
    error = request.routing_exception
    dialect = next((each for each in ALL if each.owns(request.path)), None)
    if error is None or dialect is None:
        return None
    return dialect.answer(_of_framework(NotFound() if isinstance(error, RequestRedirect) else error))


def _raise_invalid(error: ValidationError) -> NoReturn:
    """Turn a pydantic error into Invalid, with a message per field and without the values that were sent."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    details: dict[str, Any] = {".".join(map(str, each["loc"])) or "body": f"{each['msg']}." for each in found}
    indexes = [part for each in found for part in each["loc"] if isinstance(part, int)]
    if indexes:
        details["index"] = indexes[0]  # the first invalid entry of a batch, as in errors of the domain
    raise errors.Invalid("Some fields are invalid.", code="fields", details=details)


def _of_problem(problem: Problem, dialect: Dialect) -> Failure:
    headers = {}
    status = dialect.status(problem)
    if status == 500:  # prescribed by a contract: must not look like a crash in the logs
        headers["X-Error-Id"] = error_id = uuid4().hex[:12]
        log.warning(
            "update failed: error_id=%s code=%s details=%s message=%s",
            error_id,
            problem.code,
            problem.details,
            problem.message,
        )
    elif isinstance(problem, errors.StorageFailed):
        log.warning("storage failed: details=%s message=%s", problem.details, problem.message)
    if isinstance(problem, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(problem, errors.TooMany | errors.Conflict):
        headers["Retry-After"] = str(problem.retry_after_s)
    elif isinstance(problem, errors.StorageFailed):
        headers["Retry-After"] = str(STORAGE_RETRY_S)
        return Failure(status, problem.code, problem.message, headers=headers)
    return Failure(status, problem.code, problem.message, _spelled(problem.details), headers)


def _of_database(error: SQLAlchemyError, dialect: Dialect) -> Failure:
    if is_disk_full(error):
        return _of_problem(errors.DiskFull(), dialect)
    headers = {"Retry-After": str(STORAGE_RETRY_S)}
    log.warning("database unavailable: reason=%s", type(error).__name__)
    return Failure(503, "unavailable", "The database is unavailable. Try again.", headers=headers)


def _of_framework(error: HTTPException) -> Failure:
    status = error.code or 500
    code = re.sub(r"\W+", "_", error.name).lower()
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return Failure(status, code, SENTENCES.get(status) or error.description or error.name, headers=headers)


SENTENCES = {
    404: "There is no resource at this URL.",
    405: "This method is not allowed here. The Allow header lists the allowed methods.",
    413: "The request is too large.",
    429: "Too many requests. Wait as long as the Retry-After header says, then try again.",
    500: "Something went wrong on our side.",
}


def _spelled(details: Any) -> Any:
    """Convert the field names in a problem's details to camelCase: external_ref → externalRef."""
    if not isinstance(details, dict):
        return details
    return {to_camel(name) if "_" in name else name: value for name, value in details.items()}
