"""Liveness and readiness checks for load balancers, supervisors and operators."""

from flask import Blueprint, Flask
from flask.typing import ResponseReturnValue

from portal import config
from portal.health.parts import states, warnings
from portal.infra import disk_space

blueprint = Blueprint("health", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


@blueprint.get("/healthz")
def alive() -> ResponseReturnValue:
    """Report that this process responds. Checks no other service."""
    return {"status": "alive"}, {"Cache-Control": "no-store"}


@blueprint.get("/readyz")
def ready() -> ResponseReturnValue:
    """Report the state of each dependency, the space left in MiB and warnings; 503 while a dependency is not ready."""
    parts = states()
    is_ready = all(state == "ready" for state in parts.values())
    free_mb = disk_space.free_bytes(config.settings()) // disk_space.MIB
    status = "ready" if is_ready else "not ready"
    answer = {"status": status, "parts": parts, "disk_free_mb": free_mb, "warnings": warnings()}
    return answer, 200 if is_ready else 503, {"Cache-Control": "no-store"}
