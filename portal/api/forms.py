"""The body of PUT /api/properties/{id}: a multipart form with its files on disk, or JSON without files."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Annotated, Any, NamedTuple, cast

from flask import g, request
from flask_openapi.blueprint import APIBlueprint
from pydantic import Field, StringConstraints, ValidationError
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from portal import config
from portal.api import bodies
from portal.api.bodies import Body, PropertyFields, Text
from portal.errors import Invalid
from portal.images import properties
from portal.images.edit import MAX_FILE_COUNT, AddedFile, ArrangedImage, Change
from portal.infra import multipart
from portal.infra.multipart import SpooledFile

IMAGES = ("images", "images[]")  # the second is PHP's spelling
NUMBERS = {*properties.NUMBERS}
JSON_FIELDS = {  # form fields whose text is JSON
    "mainNewImageIndex",
    "newImageRotations",
    "imagesToDelete",
    "existingImageRotations",
    "imagesMeta",
    *NUMBERS,
}
Rotation = Annotated[int, Field(ge=0, le=3, description="Clockwise rotation: 0 = 0°, 1 = 90°, 2 = 180°, 3 = 270°.")]
ImageId = Annotated[
    str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,18})$")
]  # no leading zeros: "013" would be a second key for 13


class MetaBody(Body):
    id: int = Field(description="Image ID.")
    url: Text = Field(description="Image URL. Must match the existing one; host and query string are ignored.")
    order_index: int = Field(ge=0, description="Display order, starting at 0.")
    is_main: bool


class UpdateBody(PropertyFields):
    """Image operations, applied in the order delete, rotate, upload, reorder, and other fields of the property."""

    main_new_image_index: int | None = Field(
        None, ge=0, description="Zero-based index of the main image among the uploaded files."
    )
    new_image_rotations: list[Rotation] = Field(
        [], description="One rotation per file in `images`; missing ones are 0."
    )
    images_to_delete: list[int] = Field([], description="Image IDs. Unknown IDs are skipped.")
    existing_image_rotations: dict[ImageId, Rotation] = Field({}, description="Maps image ID to rotation.")
    images_meta: list[MetaBody] | None = Field(
        None,
        description="Order and main image. All images are first set to `isMain: false`, then updated from this array.",
    )


TEXTS = {field.alias for field in UpdateBody.model_fields.values()}


class RequestBody(NamedTuple):
    """A request body: values by name, uploaded photos, and a function that returns a digest of the whole."""

    values: dict[str, Any]
    photos: list[SpooledFile]
    digest: Callable[[], bytes]


def read_bodies_of(blueprint: APIBlueprint) -> None:
    """Read the body of each PUT before the view runs, and close its files after the response."""
    blueprint.before_request(_read)
    blueprint.teardown_request(_close)


def request_body() -> RequestBody:
    """Return the body of this request."""
    return cast(RequestBody, g.request_body)


def change(added_by: str) -> Change:
    """Return the requested change. Raises Invalid with the first invalid field in `details`, and BadRequest."""
    values, photos, _ = request_body()
    try:
        body = UpdateBody.model_validate(_parsed(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        details = {".".join(map(str, first["loc"])): f"{first['msg']}."}
        raise Invalid("Some fields are invalid.", code="fields", details=details) from None
    quarters = body.new_image_rotations
    if len(quarters) > len(photos):
        raise Invalid(f"newImageRotations has {len(quarters)} rotations for {len(photos)} files.", code="rotation")
    return Change(
        deleted=frozenset(body.images_to_delete),
        rotated={int(image_id): quarters for image_id, quarters in body.existing_image_rotations.items()},
        added=[
            AddedFile(photo.read, photo.file_name, (quarters + [0] * len(photos))[index])
            for index, photo in enumerate(photos)
        ],
        main_added=body.main_new_image_index,
        arranged=None
        if body.images_meta is None
        else [ArrangedImage(one.id, one.url, one.order_index, one.is_main) for one in body.images_meta],
        fields=body.fields,
        added_by=added_by,
    )


def _read() -> None:
    if request.method != "PUT":
        return
    if request.mimetype == multipart.MULTIPART:
        most = config.settings().max_file_bytes
        g.files = ExitStack()
        form = g.files.enter_context(multipart.spooled(request, max_files=MAX_FILE_COUNT, max_file_bytes=most))
        if misplaced := next((file.field for file in form.files if file.field in TEXTS), None):
            raise BadRequest(f"{misplaced} must be a text field, not a file.")
        photos = [file for file in form.files if file.field in IMAGES]
        g.request_body = RequestBody(form.fields.to_dict(), photos, form.digest)
    elif request.is_json:
        g.request_body = RequestBody(bodies.json_object(), [], request.get_data)
    else:
        raise UnsupportedMediaType("Send multipart/form-data, or application/json if there are no files.")


def _close(_: BaseException | None) -> None:
    if "files" in g:
        g.pop("files").close()


def _parsed(values: dict[str, Any]) -> dict[str, Any]:
    """Decode the fields whose text is JSON. An empty text for a number becomes None."""
    images = values.get("images") or []
    if not isinstance(images, list) or any(each is not None for each in images):
        raise Invalid("images: send files as multipart/form-data.", code="fields")
    found = dict(values)
    for name in JSON_FIELDS & values.keys():
        if isinstance(text := values[name], str):
            found[name] = None if name in NUMBERS and not text else _json(name, text)
    return found


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequest(f"{name} is not valid JSON.") from None
