"""/api/openapi.json: the contracts as OpenAPI 3.1, made from the models that check the requests."""

from threading import Lock
from typing import Any

from flask import Response, jsonify
from flask_openapi.models.info import Info
from flask_openapi.models.security_scheme import SecurityScheme
from flask_openapi.openapi import OpenAPI

from portal import config
from portal.accounts.idempotency import MAX_KEY_LENGTH
from portal.api.bodies import ErrorAnswer
from portal.api.forms import JSON_FIELDS, UpdateBody
from portal.images.edit import MAX_FILE_COUNT

IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "Any unique text. The same request under the same key happens once and has the same answer for "
        "24 hours, marked `Idempotent-Replayed: true`; another request under it is a 422, one that comes "
        "while the first still runs a 409. Bodies are compared byte for byte."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
}
ETAGS: dict[tuple[str, str], dict[str, Any]] = {
    ("/api/v1/properties/{id}/images", "get"): {
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag of an earlier answer: a 304 while it holds.",
        "schema": {"type": "string"},
    },
    ("/api/v1/properties/{id}/images/reorder", "patch"): {
        "name": "If-Match",
        "in": "header",
        "description": "The ETag of the list that the new order was made from: a 412 where it has changed since.",
        "schema": {"type": "string"},
    },
}
SCHEMAS = "#/components/schemas/{model}"
MAKING = Lock()
WRITES = ("post", "put", "patch", "delete")
DESCRIPTION = """\
The photos of rental properties. Send your key with each request: `Authorization: Bearer YOUR_KEY`.

Under `/api/v1` each failure is `{"error": {"code", "message", "details"}}`: a stable word for programs, a sentence
for people, and what it is about; in a batch `details.index` names the entry. Under `/api/v1/integration-definition`
and `/api/v1/listings` it is the inner object alone. At `/api/properties/{id}` it is
`{"success": false, "message", "data": null}`, and a 500 has no `data`. Each answer says in `RateLimit-Limit`,
`RateLimit-Remaining` and `RateLimit-Reset` (seconds) how often you may still call; a 429 says in `Retry-After`
when to try again. Every write takes an `Idempotency-Key`.
"""


def init_app(app: OpenAPI) -> None:
    app.openapi_version = "3.1.0"
    app.validation_error_model = ErrorAnswer
    app.info = Info(title="Frontage", version="1", description=DESCRIPTION)
    app.security_schemes = {"apiKey": SecurityScheme(type="http", scheme="bearer", description="An API key.")}
    app.severs = [{"url": config.settings().public_url}]  # the library spells it so
    app.add_url_rule("/api/openapi.json", "openapi", lambda: _serve(app))


def _serve(app: OpenAPI) -> Response:
    return jsonify(_document(app))


def _document(app: OpenAPI) -> dict[str, Any]:
    """The library's document, with the headers that are read behind its back and without a 409 for reads.

    Made once, by whoever asks first; others wait, so that nobody sees half of it.
    """
    with MAKING:
        if not app.spec_json:
            _make(app)
    return app.spec_json


def _make(app: OpenAPI) -> None:
    app.generate_spec_json()  # type: ignore[no-untyped-call]
    for path, operations in app.spec_json["paths"].items():
        for method, operation in operations.items():
            headers = [ETAGS[path, method]] if (path, method) in ETAGS else []
            headers += [IDEMPOTENCY_KEY] if method in WRITES else []
            operation.setdefault("parameters", []).extend(headers)
            if method not in WRITES:  # an Idempotency-Key in flight, a webhook that is off: writes alone meet them
                del operation["responses"]["409"]
    _add_form(app.spec_json)


def _add_form(document: dict[str, Any]) -> None:
    """Describe the body of seed C's PUT, which the library never sees: its files go to disk."""
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
