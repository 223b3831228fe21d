"""@idempotent: a write sent twice under one Idempotency-Key happens once and is answered twice."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import ParamSpec

from flask import Response, request
from werkzeug.exceptions import BadRequest

from portal.accounts import idempotency
from portal.accounts.idempotency import Answer
from portal.api import auth
from portal.db import now
from portal.work import quietly, riding

P = ParamSpec("P")
View = Callable[P, Response]
Renew = Callable[[Answer], Answer]


def idempotent(
    view: View[P],
    renew: Renew | None = None,
    body: Callable[[], bytes] | None = None,
    lease: timedelta = idempotency.LEASE,
) -> View[P]:
    """Keep the answer of a write in the commit of its effect, and give it again to the same request.

    The same is: workspace, key, method, path and body, byte for byte. A run that raises has had no effect,
    since its change is undone, so its key is free again; one whose process dies holds it for a minute.
    `renew` may freshen what an old answer says; `body` says what stands for the body where that is long,
    `lease` how long a run may take before somebody else may take it over.
    """

    @wraps(view)
    def once(*args: P.args, **kwargs: P.kwargs) -> Response:
        key = _key()
        if key is None:
            return view(*args, **kwargs)
        claimed = idempotency.claim(auth.workspace(), key, _fingerprint(body or request.get_data), lease)
        if isinstance(claimed, Answer):
            return _again(renew(claimed) if renew else claimed)
        try:
            with riding(lambda: idempotency.keep(claimed, _kept(response))):
                response = view(*args, **kwargs)
        except Exception:
            quietly(idempotency.release, claimed)
            raise
        return response

    return once


def _key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (key.strip() and len(key) <= idempotency.MAX_KEY_LENGTH and key.isprintable()):
        raise BadRequest(f"An Idempotency-Key has 1 to {idempotency.MAX_KEY_LENGTH} printable characters.")
    return key


def _fingerprint(body: Callable[[], bytes]) -> str:
    """Two bodies that differ only in their white space are two requests (case G13)."""
    asked = f"{request.method} {request.full_path}\n".encode("utf-8", "surrogatepass")
    return hashlib.sha256(asked + body()).hexdigest()


def _kept(response: Response) -> Answer:
    return Answer(response.status_code, response.get_data(as_text=True), response.location, now())


def _again(answer: Answer) -> Response:
    response = Response(answer.body, answer.status, mimetype="application/json")
    if answer.location:
        response.headers["Location"] = answer.location
    response.headers["Idempotent-Replayed"] = "true"
    return response
