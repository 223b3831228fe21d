"""Demo data for the first start: a workspace, an admin, an API key, and a property with uploaded photos."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import requests
from sqlalchemy import select

from portal.accounts import access
from portal.accounts.models import Workspace
from portal.config import settings
from portal.db import db
from portal.demo.photos import PHOTOS, Photo
from portal.images import gallery, properties, uploads
from portal.images.models import Property
from portal.images.uploads import AnnouncedFile, UploadedFile

WORKSPACE, HOME = "Demo", "Heron House"
EMAIL = "admin@demo.example"
PUT_TIMEOUT_S = 30


@dataclass(frozen=True)
class FirstRun:
    """What is printed once, at the first start."""

    sign_in_url: str = field(repr=False)
    api_key: str = field(repr=False)
    property_uuid: str


def prepare() -> FirstRun | None:
    """Create the demo's workspace, admin, key and property in an empty database; return None if it isn't empty."""
    if db.session.scalar(select(Workspace.id).limit(1)):
        return None
    workspace = access.create_workspace(WORKSPACE)
    user = access.create_user(workspace, EMAIL, name="Demo Admin", admin=True)
    key = access.create_api_key(workspace, "Demo", admin=True, made_by="first run")
    home = properties.create(
        workspace,
        {
            "name": HOME,
            "address": "Lake Road 3",
            "bedrooms": 3,
            "bathrooms": 2,
            "sleeps": 6,
            "external_ref": "DEMO-1",
        },
    )
    token = access.create_sign_in_link(user)
    return FirstRun(f"{settings().public_url}/sign-in/link?token={token}", key.secret, str(home.uuid))


def add_photos() -> int:
    """Upload the demo's missing photos as any client would: presign, PUT, confirm. Return their number."""
    workspace = access.find_workspace(WORKSPACE)
    home = workspace and db.session.scalar(
        select(Property).where(Property.workspace_id == workspace.id, Property.name == HOME)
    )
    if not home:
        return 0
    missing = list(_missing(home))
    for photo in missing:
        data = photo.read()
        (upload,) = uploads.presign(home, [AnnouncedFile(photo.file_name, photo.type, len(data))])
        file = UploadedFile(upload.key, photo.type, len(data), photo.alt_text)
        url = uploads.url_of(upload)
        requests.put(url, data=data, headers={"Content-Type": photo.type}, timeout=PUT_TIMEOUT_S).raise_for_status()
        uploads.confirm(home, [file], added_by="Demo Admin")
    return len(missing)


def _missing(home: Property) -> Iterator[Photo]:
    present = {image.file_name for image in gallery.images(home)}
    return (photo for photo in PHOTOS if photo.file_name not in present)
