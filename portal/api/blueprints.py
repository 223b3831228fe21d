"""Blueprints in a dialect: guarded, failures in its form; in A's and B's the bodies are read first."""

from typing import Any

from flask import Response, current_app, request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from pydantic import Field

from portal.api import auth, bodies, dialects
from portal.api.bodies import ERRORS, IMAGE_CDN_ERRORS, Path

V1, UNVERSIONED = "/api/v1", "/api/properties"  # seeds A and B; C


class PropertyPath(Path):
    id: str = Field(description="The property's `id`, or its `numericId`.")


def speaking_a(name: str, path: str, tag: Tag) -> APIBlueprint:
    """Make a blueprint of seed A under /api/v1, at a path that this dialect owns."""
    blueprint = _speaking(dialects.IMAGE_CDN, name, V1 + path, tag, IMAGE_CDN_ERRORS)
    auth.guard(blueprint, auth.INTEGRATIONS_READ_SCOPE, auth.INTEGRATIONS_WRITE_SCOPE)
    blueprint.before_request(bodies.read)
    return blueprint


def speaking_b(
    name: str, path: str, tag: Tag, *, read: str = auth.READ_SCOPE, write: str = auth.WRITE_SCOPE
) -> APIBlueprint:
    """Make a blueprint under /api/v1; `read` and `write` are the scopes that a key needs for them."""
    blueprint = _speaking(dialects.PROPERTY_IMAGES, name, V1 + path, tag, ERRORS)
    auth.guard(blueprint, read, write)
    blueprint.before_request(bodies.read)
    return blueprint


def speaking_c(name: str, tag: Tag, failures: dict[Any, Any]) -> APIBlueprint:
    """Make the blueprint of seed C, for admins' keys. Its bodies are forms: each route reads its own."""
    blueprint = _speaking(dialects.MANAGE_IMAGES, name, UNVERSIONED, tag, failures)
    auth.guard(blueprint, admins_only=True)
    return blueprint


def _speaking(dialect: dialects.Dialect, name: str, prefix: str, tag: Tag, failures: dict[Any, Any]) -> APIBlueprint:
    blueprint = APIBlueprint(
        name,
        __name__,
        url_prefix=prefix,
        abp_tags=[tag],
        abp_security=[{"apiKey": []}],
        abp_responses=failures,
    )
    dialects.speak(blueprint, dialect)
    blueprint.after_request(_name_methods)
    return blueprint


def _name_methods(response: Response) -> Response:
    """Answer OPTIONS for the route that was found: Flask adds …/images/<imageId>'s methods to …/images/presign."""
    if request.method == "OPTIONS" and response.status_code == 200 and request.url_rule:
        rules = current_app.url_map.iter_rules()
        same = [rule.methods or set() for rule in rules if rule.rule == request.url_rule.rule]
        response.headers["Allow"] = ", ".join(sorted(set().union(*same)))
    return response
