"""Properties: create, find, change and delete them, always within a workspace."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import bindparam, case, func, select

from portal.accounts.models import Workspace
from portal.db import as_uuid, db, is_id
from portal.errors import Invalid, NotFound
from portal.images import deletion, gallery, imports
from portal.images.models import DeletedImage, Image, Property, Upload
from portal.infra import pagination, storage
from portal.infra.search import matching
from portal.work import lock, work

TEXTS = {"name": 200, "address": 300, "external_ref": 120}  # maximum length, characters
NUMBERS = {"bedrooms": 100, "bathrooms": 100, "sleeps": 500}  # maximum
MAX_PAGE = 100
SEARCHED = (Property.name, Property.address, Property.external_ref)
IN_WORKSPACE = select(Property).where(Property.workspace_id == bindparam("workspace_id"))
BY_ID = IN_WORKSPACE.where(Property.id == bindparam("ref"))
BY_UUID = IN_WORKSPACE.where(Property.uuid == bindparam("ref"))
"""Built once, as every API call uses one of them: building a statement takes longer than SQLite takes to execute it."""


class Page(NamedTuple):
    """A page of properties, newest first, and the cursor of the next page, if there is one."""

    items: list[Property]
    next_cursor: str | None


class Summary(NamedTuple):
    """A row of the table of properties."""

    property: Property
    photos: int
    undescribed: int
    cover: Image | None


def create(workspace: Workspace, fields: Mapping[str, Any]) -> Property:
    """Create a property. Raises Invalid, whose details have a sentence for each invalid field."""
    values = checked({"name": "", **fields})
    with work():
        property = Property(workspace_id=workspace.id, **values)
        db.session.add(property)
    return property


def update(property: Property, changes: Mapping[str, Any]) -> Property:
    """Change the given fields. Raises Invalid, or NotFound if the property has just been deleted."""
    values = checked(changes)
    with work() as w:
        if not lock(property):
            raise _not_found()
        if assign(property, values):
            gallery.emit_updated(w, property)
    return property


def assign(property: Property, values: Mapping[str, Any]) -> bool:
    """Set checked values; return whether any of them changed. Call it under the property's lock."""
    before = {name: getattr(property, name) for name in values}
    for name, value in values.items():
        setattr(property, name, value)
    return before != values


def delete(property: Property) -> None:
    """Delete a property with its gallery and all its objects. Raises NotFound if somebody else deleted it first."""
    with work() as w:
        if not lock(property):
            raise _not_found()
        deletion.remove(w, gallery.lock_images(property))
        db.session.flush()
        deleted = select(DeletedImage.original_key).where(DeletedImage.property_id == property.id)
        w.drop(storage.uploads, *db.session.scalars(deleted))
        unconfirmed = select(Upload.key).where(Upload.property_id == property.id, Upload.confirmed_at.is_(None))
        w.drop(storage.uploads, *db.session.scalars(unconfirmed))
        imports.release_budget(property)
        db.session.delete(property)


def find(workspace: Workspace, ref: str) -> Property:
    """Return a property of this workspace by uuid or number. Raises NotFound, also for another workspace's property."""
    found, value = (BY_ID, int(ref)) if is_id(ref) else (BY_UUID, as_uuid(ref))
    property = db.session.scalar(found, {"workspace_id": workspace.id, "ref": value})
    if property is None:
        raise _not_found()
    return property


def page(workspace: Workspace, *, after: str | None = None, limit: int = 50, search: str = "") -> Page:
    """Return a page of properties, newest first, after a cursor. Raises Invalid for an invalid cursor."""
    found = matching(select(Property).where(Property.workspace_id == workspace.id), search, SEARCHED)
    if after is not None:
        found = found.where(Property.id < pagination.id_in(after, "before"))
    limit = max(1, min(limit, MAX_PAGE))
    rows = list(db.session.scalars(found.order_by(Property.id.desc()).limit(limit + 1)))
    return Page(rows[:limit], pagination.cursor("before", rows[limit - 1].id) if len(rows) > limit else None)


def summaries(properties: list[Property]) -> list[Summary]:
    """Summarize properties for the table, always with two statements."""
    ids = [property.id for property in properties]
    undescribed = func.sum(case((Image.alt_text.is_(None), 1), else_=0))
    counts = select(Image.property_id, func.count(), undescribed).where(Image.property_id.in_(ids))
    counted = {row[0]: row for row in db.session.execute(counts.group_by(Image.property_id))}
    covers = {
        image.property_id: image
        for image in db.session.scalars(select(Image).where(Image.property_id.in_(ids), Image.is_main))
    }
    return [
        Summary(p, counted[p.id][1], int(counted[p.id][2]), covers.get(p.id))
        if p.id in counted
        else Summary(p, 0, 0, None)
        for p in properties
    ]


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values to store. Raises Invalid, whose details have a sentence for each invalid field."""
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, most in TEXTS.items():
        if name in fields:
            values[name] = text = str(fields[name] or "").strip()
            if len(text) > most:
                errors[name] = f"At most {most} characters."
    if "name" in values and not values["name"]:
        errors["name"] = "A property needs a name."
    for name, most in NUMBERS.items():
        if name in fields:
            values[name] = number = fields[name]
            if number is not None and not 0 <= number <= most:
                errors[name] = f"From 0 to {most}."
    if errors:
        raise Invalid("Some fields are invalid.", code="fields", details=errors)
    return values


def _not_found() -> NotFound:
    return NotFound("There is no such property.", code="property_not_found")
