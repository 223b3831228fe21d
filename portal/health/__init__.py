"""Is it alive, is it ready: for load balancers, supervisors and people on call."""

from flask import Blueprint, Flask
from flask.typing import ResponseReturnValue

from portal.health.parts import states, warnings

blueprint = Blueprint("health", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


@blueprint.get("/healthz")
def alive() -> ResponseReturnValue:
    """This process answers; it asks nobody else."""
    return {"status": "alive"}, {"Cache-Control": "no-store"}


@blueprint.get("/readyz")
def ready() -> ResponseReturnValue:
    """Each part with its state, and what an operator should know of; 503 while a part is away."""
    parts = states()
    is_ready = all(state == "ready" for state in parts.values())
    answer = {"status": "ready" if is_ready else "not ready", "parts": parts, "warnings": warnings()}
    return answer, 200 if is_ready else 503, {"Cache-Control": "no-store"}
