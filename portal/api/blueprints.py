"""Blueprints of each dialect, with authentication and the dialect's error format.

Blueprints under /api/v1 also parse JSON bodies before their routes run.
"""

from typing import Any

from flask import Response, current_app, request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from pydantic import Field

from portal.api import auth, bodies, dialects
from portal.api.bodies import ERRORS, IMAGE_CDN_ERRORS, Path

V1, UNVERSIONED = "/api/v1", "/api/properties"  # the unversioned one: Manage Property Images


class PropertyPath(Path):
    id: str = Field(description="The property's `id` or `numericId`.")


def image_cdn_blueprint(name: str, path: str, tag: Tag) -> APIBlueprint:
    """Create an Image CDN blueprint. `path` must lie under one of the dialect's prefixes."""
    blueprint = _blueprint(dialects.IMAGE_CDN, name, V1 + path, tag, IMAGE_CDN_ERRORS)
    auth.guard(blueprint, auth.INTEGRATIONS_READ_SCOPE, auth.INTEGRATIONS_WRITE_SCOPE)
    blueprint.before_request(bodies.read)
    return blueprint


def property_images_blueprint(
    name: str, path: str, tag: Tag, *, read: str = auth.READ_SCOPE, write: str = auth.WRITE_SCOPE
) -> APIBlueprint:
    """Create a Property Images API blueprint. `read` and `write` are the scopes that a key needs."""
    blueprint = _blueprint(dialects.PROPERTY_IMAGES, name, V1 + path, tag, ERRORS)
    auth.guard(blueprint, read, write)
    blueprint.before_request(bodies.read)
    return blueprint


def manage_images_blueprint(name: str, tag: Tag, failures: dict[Any, Any]) -> APIBlueprint:
    """Create the Manage Property Images blueprint, for admin keys only. Its routes read their own form bodies."""
    blueprint = _blueprint(dialects.MANAGE_IMAGES, name, UNVERSIONED, tag, failures)
    auth.guard(blueprint, admins_only=True)
    return blueprint


def _blueprint(dialect: dialects.Dialect, name: str, prefix: str, tag: Tag, failures: dict[Any, Any]) -> APIBlueprint:
    blueprint = APIBlueprint(
        name,
        __name__,
        url_prefix=prefix,
        abp_tags=[tag],
        abp_security=[{"apiKey": []}],
        abp_responses=failures,
    )
    dialects.register_error_handlers(blueprint, dialect)
    blueprint.after_request(_narrow_allow)
    return blueprint


def _narrow_allow(response: Response) -> Response:
    """Limit the Allow header of OPTIONS to the matched route.

    Otherwise Flask adds the methods of …/images/<imageId> to …/images/presign.
    """
    if request.method == "OPTIONS" and response.status_code == 200 and request.url_rule:
        rules = current_app.url_map.iter_rules()
        same = [rule.methods or set() for rule in rules if rule.rule == request.url_rule.rule]
        response.headers["Allow"] = ", ".join(sorted(set().union(*same)))
    return response
