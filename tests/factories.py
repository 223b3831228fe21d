"""The people of the tests and their things, made through the domain's own functions."""

from __future__ import annotations

from contextvars import Context
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import requests
from flask import Flask, has_app_context
from flask.testing import FlaskClient
from PIL import Image as Pillow
from werkzeug.test import TestResponse

from portal.accounts import access
from portal.accounts.models import User, Workspace
from portal.db import db
from portal.images import properties, uploads
from portal.images.models import Image, Property
from portal.images.uploads import AnnouncedFile, UploadedFile

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


class OwnContext(FlaskClient):
    """Requests as a server runs them: they don't see the app context of the test, its session or its `g`."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response: TestResponse = Context().run(super().open, *args, **kwargs)
        if has_app_context():
            db.session.rollback()  # end the test's transaction, so that it sees what the request did
        return response


@dataclass
class Person:
    """One of the people: in the browser, and with an API key."""

    app: Flask
    user: User
    workspace: Workspace
    key: str

    def browser(self) -> FlaskClient:
        """A test client that is signed in and sends Sec-Fetch-Site as browsers do."""
        client = self.app.test_client()
        client.environ_base["HTTP_SEC_FETCH_SITE"] = "same-origin"
        client.environ_base["HTTP_ACCEPT"] = "text/html"
        with self.app.app_context():
            token = access.create_sign_in_link(access.db.session.get_one(User, self.user.id))
        response = client.post("/sign-in/link", data={"token": token})
        assert response.status_code in (302, 303), response.text
        return client

    def api(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        """Call the API with this person's key."""
        headers = {"Authorization": f"Bearer {self.key}", **kwargs.pop("headers", {})}
        return self.app.test_client().open(path, method=method, headers=headers, **kwargs)


def person(app: Flask, workspace_name: str, email: str, *, admin: bool, plan: str = "free") -> Person:
    workspace = access.find_workspace(workspace_name) or access.create_workspace(workspace_name, plan)
    user = access.create_user(workspace, email, name=email.split("@")[0].title(), admin=admin)
    key = access.create_api_key(workspace, f"{user.name}'s key", admin=admin, made_by=user.name)
    return Person(app, user, workspace, key.secret)


def home_of(workspace: Workspace, name: str = "Alder Cottage") -> Property:
    return properties.create(workspace, {"name": name, "address": "4 Mill Lane", "bedrooms": 2, "sleeps": 4})


def jpeg(width: int = 640, height: int = 480, colour: tuple[int, int, int] = (180, 120, 60), **options: Any) -> bytes:
    """A small real JPEG: a gradient, not one flat colour."""
    image = Pillow.linear_gradient("L").resize((width, height))
    photo = Pillow.merge("RGB", [image.point(lambda v, c=channel: v * c // 255) for channel in colour])
    file = BytesIO()
    photo.save(file, "JPEG", **{"quality": 85, **options})
    return file.getvalue()


def put(url: str, data: bytes, content_type: str) -> requests.Response:
    """PUT to a presigned URL, as a client does."""
    return requests.put(url, data=data, headers={"Content-Type": content_type}, timeout=30)


def uploaded(home: Property, data: bytes, *, name: str = "photo.jpg", type: str = "image/jpeg") -> UploadedFile:
    """Presign and PUT; ready to be confirmed."""
    (upload,) = uploads.presign(home, [AnnouncedFile(name, type, len(data))])
    response = put(uploads.url_of(upload), data, type)
    assert response.status_code == 200, response.text
    return UploadedFile(upload.key, type, len(data))


def photo_in(home: Property, data: bytes | None = None, **kwargs: Any) -> Image:
    """An image in the gallery, confirmed and still without variants."""
    ((image, _),) = uploads.confirm(home, [uploaded(home, data or jpeg(), **kwargs)], added_by="Alice")
    return image
