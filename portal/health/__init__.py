"""Liveness and readiness checks for load balancers, supervisors and operators."""

from flask import Blueprint, Flask
from flask.typing import ResponseReturnValue

from portal.health.parts import states, warnings

blueprint = Blueprint("health", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


@blueprint.get("/healthz")
def alive() -> ResponseReturnValue:
    """Report that this process responds. Checks no other service."""
    return {"status": "alive"}, {"Cache-Control": "no-store"}


@blueprint.get("/readyz")
def ready() -> ResponseReturnValue:
    """Report the state of each dependency and any warnings; 503 while a dependency is unavailable."""
    parts = states()
    is_ready = all(state == "ready" for state in parts.values())
    answer = {"status": "ready" if is_ready else "not ready", "parts": parts, "warnings": warnings()}
    return answer, 200 if is_ready else 503, {"Cache-Control": "no-store"}
