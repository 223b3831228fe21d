"""The table of properties, and the forms to create, edit and delete one."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import Blueprint, redirect, render_template
from flask.typing import ResponseReturnValue

from portal.errors import Invalid
from portal.images import gallery, keys, properties
from portal.images.models import Image, Property
from portal.pages.htmx import request
from portal.pages.session import current_user, signed_in

PAGE = 50
TEXTS = ("name", "address", "external_ref")
NUMBERS = {"bedrooms": int, "bathrooms": float, "sleeps": int}

blueprint = Blueprint("properties", __name__)


@blueprint.get("/")
def home() -> ResponseReturnValue:
    return redirect("/properties")


@blueprint.get("/properties")
@signed_in
def table() -> str:
    search = request.args.get("q", "").strip()
    after = request.args.get("after")
    workspace = current_user().workspace
    page = properties.page(workspace, after=after, limit=PAGE, search=search)
    return render_template(
        "properties/_results.html" if request.htmx else "properties/table.html",
        rows=properties.summaries(page.items),
        thumb_url=_thumb_url,
        limit=workspace.plan.images_per_property,
        next_cursor=page.next_cursor,
        search=search,
        after=after,
    )


@blueprint.get("/properties/new")
@signed_in
def new() -> str:
    return _form(None, {})


@blueprint.post("/properties/new")
@signed_in
def create() -> ResponseReturnValue:
    try:
        property = properties.create(current_user().workspace, _fields())
    except Invalid as error:
        return _form_again(None, error)
    return redirect(f"/properties/{property.uuid}/photos", 303)


@blueprint.get("/properties/<uuid:uuid>/edit")
@signed_in
def edit(uuid: UUID) -> str:
    property = _find(uuid)
    return _form(property, {name: getattr(property, name) for name in (*TEXTS, *NUMBERS)})


@blueprint.post("/properties/<uuid:uuid>/edit")
@signed_in
def update(uuid: UUID) -> ResponseReturnValue:
    property = _find(uuid)
    try:
        properties.update(property, _fields())
    except Invalid as error:
        return _form_again(property, error)
    return redirect(f"/properties/{uuid}/photos", 303)


@blueprint.get("/properties/<uuid:uuid>/delete")
@signed_in
def confirm_delete(uuid: UUID) -> str:
    property = _find(uuid)
    return render_template("properties/delete.html", property=property, photos=gallery.quota(property).used)


@blueprint.post("/properties/<uuid:uuid>/delete")
@signed_in
def delete(uuid: UUID) -> ResponseReturnValue:
    properties.delete(_find(uuid))
    return redirect("/properties", 303)


def _find(uuid: UUID) -> Property:
    return properties.find(current_user().workspace, str(uuid))


def _fields() -> dict[str, Any]:
    texts = {name: request.form.get(name, "") for name in TEXTS}
    return texts | {name: _number(request.form.get(name, "").strip(), kind) for name, kind in NUMBERS.items()}


def _number(text: str, kind: type[int] | type[float]) -> float | None:
    """Return the number, None for an empty text, or NaN for an invalid one: no range of the domain includes NaN."""
    try:
        return kind(text) if text else None
    except ValueError:
        return float("nan")


def _form_again(property: Property | None, error: Invalid) -> ResponseReturnValue:
    """Return the form with the submitted values and an error at each invalid field."""
    return _form(property, request.form, error.details), 422


def _form(property: Property | None, values: Mapping[str, Any], wrong: Mapping[str, str] | None = None) -> str:
    photos = gallery.quota(property).used if property else 0
    return render_template("properties/form.html", property=property, photos=photos, values=values, wrong=wrong or {})


def _thumb_url(cover: Image | None) -> str:
    return keys.image_url(cover, 320) if cover else ""
