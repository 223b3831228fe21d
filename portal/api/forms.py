"""The body of seed C's PUT: a multipart form whose files lie on disk, or JSON where there are no files."""

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
from portal.images.edit import MAX_FILE_COUNT, Added, Arranged, Change
from portal.infra import multipart
from portal.infra.multipart import SpooledFile

IMAGES = ("images", "images[]")  # the second as PHP's clients spell it
NUMBERS = {*properties.NUMBERS}
JSON_FIELDS = {  # a form has texts only: these are JSON in it
    "mainNewImageIndex",
    "newImageRotations",
    "imagesToDelete",
    "existingImageRotations",
    "imagesMeta",
    *NUMBERS,
}
Rotation = Annotated[int, Field(ge=0, le=3, description="Clockwise quarters: 0 = 0°, 1 = 90°, 2 = 180°, 3 = 270°.")]
ImageId = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,18})$")]  # "013" would be another name of 13


class MetaBody(Body):
    id: int = Field(description="Image ID.")
    url: Text = Field(description="Image URL: must match the existing one, host and query aside.")
    order_index: int = Field(ge=0, description="Display order, from 0.")
    is_main: bool


class UpdateBody(PropertyFields):
    """What the PUT does, in the order delete, rotate, upload, arrange; and other fields of the property."""

    main_new_image_index: int | None = Field(None, ge=0, description="Which of the new images is the main one.")
    new_image_rotations: list[Rotation] = Field([], description="For each file of `images`; missing ones are 0.")
    images_to_delete: list[int] = Field([], description="Image IDs; unknown ones are skipped.")
    existing_image_rotations: dict[ImageId, Rotation] = Field({}, description="Image ID → rotation.")
    images_meta: list[MetaBody] | None = Field(
        None, description="Order and main image. All images are first set to `isMain: false`."
    )


TEXTS = {field.alias for field in UpdateBody.model_fields.values()}


class Sent(NamedTuple):
    """A body as it came: values by name, the photos, and what tells it from another one."""

    values: dict[str, Any]
    photos: list[SpooledFile]
    digest: Callable[[], bytes]


def read_on(blueprint: APIBlueprint) -> None:
    """Have the body of each PUT read before anything looks at it, and its files closed after the answer."""
    blueprint.before_request(_read)
    blueprint.teardown_request(_close)


def sent() -> Sent:
    """The body of this request."""
    return cast(Sent, g.sent)


def change(added_by: str) -> Change:
    """What the body asks for. Raises Invalid with the field and what is wrong with it."""
    values, photos, _ = sent()
    try:
        body = UpdateBody.model_validate(_parsed(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        details = {".".join(map(str, first["loc"])): f"{first['msg']}."}
        raise Invalid("Some fields can't be used as they are.", code="fields", details=details) from None
    quarters = body.new_image_rotations
    if len(quarters) > len(photos):
        raise Invalid(f"newImageRotations has {len(quarters)} rotations for {len(photos)} files.", code="rotation")
    return Change(
        deleted=frozenset(body.images_to_delete),
        turned={int(image_id): quarters for image_id, quarters in body.existing_image_rotations.items()},
        added=[
            Added(photo.read, photo.file_name, (quarters + [0] * len(photos))[index])
            for index, photo in enumerate(photos)
        ],
        main_added=body.main_new_image_index,
        arranged=None
        if body.images_meta is None
        else [Arranged(one.id, one.url, one.order_index, one.is_main) for one in body.images_meta],
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
            raise BadRequest(f"{misplaced} is a text, and came as a file.")
        photos = [file for file in form.files if file.field in IMAGES]
        g.sent = Sent(form.fields.to_dict(), photos, form.digest)
    elif request.is_json:
        g.sent = Sent(bodies.json_object(), [], request.get_data)
    else:
        raise UnsupportedMediaType("Send multipart/form-data, or application/json where there are no files.")


def _close(_: BaseException | None) -> None:
    if "files" in g:
        g.pop("files").close()


def _parsed(values: dict[str, Any]) -> dict[str, Any]:
    """Read the JSON that stands in texts; an empty text for a number is none."""
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
        raise BadRequest(f"{name} is not JSON.") from None
