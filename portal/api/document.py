"""/api/openapi.json: the contracts as OpenAPI 3.1, generated from the models that validate requests."""

from threading import Lock
from typing import Any

from flask import Response, jsonify
from flask_openapi.models.info import Info
from flask_openapi.models.security_scheme import SecurityScheme
from flask_openapi.openapi import OpenAPI

from portal import config
from portal.accounts.idempotency import MAX_KEY_LENGTH
from portal.api import webhook_events
from portal.api.bodies import ErrorAnswer
from portal.api.forms import JSON_FIELDS, UpdateBody
from portal.images.edit import MAX_FILE_COUNT

IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "A unique string of your choice. If you repeat a request with the same key within 24 hours, it is not "
        "executed again: you get the first response, marked `Idempotent-Replayed: true`. A different request with "
        "the same key fails with 422, a repeat while the first request is still running with 409. Bodies are "
        "compared byte for byte."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
}
ETAGS: dict[tuple[str, str], dict[str, Any]] = {
    ("/api/v1/properties/{id}/images", "get"): {
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag of an earlier response. If the list has not changed since, the response is a 304.",
        "schema": {"type": "string"},
    },
    ("/api/v1/properties/{id}/images/reorder", "patch"): {
        "name": "If-Match",
        "in": "header",
        "description": "The ETag of the list that the new order is based on. If the list has changed, you get a 412.",
        "schema": {"type": "string"},
    },
}
SCHEMAS = "#/components/schemas/{model}"
GENERATION = Lock()
WRITES = ("post", "put", "patch", "delete")
DESCRIPTION = """\
Manage the photos of rental properties. Authenticate each request with an API key:
`Authorization: Bearer YOUR_KEY`.

**Errors.** Under `/api/v1`, errors have the form `{"error": {"code", "message", "details"}}`: `code` is stable and
meant for programs, `message` is meant for people, and in a batch `details.index` identifies the entry that failed.
Under `/api/v1/integration-definition` and `/api/v1/listings`, the error object has no `error` envelope. At
`/api/properties/{id}`, errors have the form `{"success": false, "message", "data": null}`; a 500 has no `data`.

**Rate limits.** Each response reports your limit in `RateLimit-Limit`, the calls that remain in
`RateLimit-Remaining`, and the seconds until the limit resets in `RateLimit-Reset`. After a 429, wait for the number
of seconds in `Retry-After`.

**Idempotency.** Every write accepts an `Idempotency-Key` header, which makes it safe to retry.
"""


def init_app(app: OpenAPI) -> None:
    app.openapi_version = "3.1.0"
    app.validation_error_model = ErrorAnswer
    app.info = Info(title="Frontage", version="1", description=DESCRIPTION)
    app.security_schemes = {"apiKey": SecurityScheme(type="http", scheme="bearer", description="An API key.")}
    app.severs = [{"url": config.settings().public_url}]  # the library's own spelling
    app.add_url_rule("/api/openapi.json", "openapi", lambda: _serve(app))


def _serve(app: OpenAPI) -> Response:
    return jsonify(_document(app))


def _document(app: OpenAPI) -> dict[str, Any]:
    """Return the OpenAPI document. The first request generates it under a lock, so no request sees half of it."""
    with GENERATION:
        if not app.spec_json:
            _generate(app)
    return app.spec_json


def _generate(app: OpenAPI) -> None:
    """Generate the document; add headers and the form body, which the library can't know; drop the 409 of reads."""
    app.generate_spec_json()  # type: ignore[no-untyped-call]
    for path, operations in app.spec_json["paths"].items():
        for method, operation in operations.items():
            headers = [ETAGS[path, method]] if (path, method) in ETAGS else []
            headers += [IDEMPOTENCY_KEY] if method in WRITES else []
            operation.setdefault("parameters", []).extend(headers)
            if method not in WRITES:  # only writes can conflict
                del operation["responses"]["409"]
    _add_form(app.spec_json)
    webhook_events.add_to(app.spec_json, SCHEMAS)


def _add_form(document: dict[str, Any]) -> None:
    """Describe the form body of PUT /api/properties/{id}, which the library doesn't parse."""
    schema = UpdateBody.model_json_schema(ref_template=SCHEMAS)
    document["components"]["schemas"].update(schema.pop("$defs"))
    photo = {"type": "string", "format": "binary"}
    photos = {"type": "array", "maxItems": MAX_FILE_COUNT, "items": photo, "description": "Image files."}
    form = schema | {"title": "UpdateForm", "properties": {"images": photos, **schema["properties"]}}
    as_json = {name: {"contentType": "application/json"} for name in JSON_FIELDS}
    document["paths"]["/api/properties/{id}"]["put"]["requestBody"] = {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form, "encoding": as_json},
            "application/json": {"schema": schema},
        },
    }
