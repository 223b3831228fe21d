"""Blueprints in seed B's dialect: guarded, bodies read first, failures in B's form."""

from flask import Response, current_app, request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from pydantic import Field

from portal.api import auth, bodies, dialects
from portal.api.bodies import ERRORS, Path

PREFIX = f"{dialects.B.prefix}/v1"


class PropertyPath(Path):
    id: str = Field(description="The property's `id`, or its `numericId`.")


def speaking_b(
    name: str, path: str, tag: Tag, *, read: str = auth.READ_SCOPE, write: str = auth.WRITE_SCOPE
) -> APIBlueprint:
    """Make a blueprint under /api/v1; `read` and `write` are the scopes that a key needs for them."""
    blueprint = APIBlueprint(
        name,
        __name__,
        url_prefix=PREFIX + path,
        abp_tags=[tag],
        abp_security=[{"apiKey": []}],
        abp_responses=ERRORS,
    )
    dialects.speak(blueprint, dialects.B)
    auth.guard(blueprint, read, write)
    blueprint.before_request(bodies.read)
    blueprint.after_request(_name_methods)
    return blueprint


def _name_methods(response: Response) -> Response:
    """Answer OPTIONS for the route that was found: Flask adds …/images/<imageId>'s methods to …/images/presign."""
    if request.method == "OPTIONS" and response.status_code == 200 and request.url_rule:
        rules = current_app.url_map.iter_rules()
        same = [rule.methods or set() for rule in rules if rule.rule == request.url_rule.rule]
        response.headers["Allow"] = ", ".join(sorted(set().union(*same)))
    return response
