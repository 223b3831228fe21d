"""@idempotent: a write that is repeated with the same Idempotency-Key runs once and gets the same response."""

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
from portal.work import before_last_commit, best_effort

P = ParamSpec("P")
View = Callable[P, Response]
Renew = Callable[[Answer], Answer]


def idempotent(
    view: View[P],
    renew: Renew | None = None,
    body: Callable[[], bytes] | None = None,
    lease: timedelta = idempotency.LEASE,
) -> View[P]:
    """Store a write's response in the same transaction as its effect, and replay it for identical requests.

    Requests are identical if workspace, key, method, path and body match byte for byte. If the view raises,
    its transaction is rolled back and the key is released; if its process dies, the key is released when the
    lease ends.

    `renew` may update a stored response before it is replayed. `body` returns what to compare in place of a
    large body. `lease` is how long a run may take before another request may take over its key.
    """

    @wraps(view)
    def once(*args: P.args, **kwargs: P.kwargs) -> Response:
        key = _key()
        if key is None:
            return view(*args, **kwargs)
        claimed = idempotency.claim(auth.workspace(), key, _fingerprint(body or request.get_data), lease)
        if isinstance(claimed, Answer):
            return _replay(renew(claimed) if renew else claimed)
        try:
            with before_last_commit(lambda: idempotency.store_answer(claimed, _kept(response))):
                response = view(*args, **kwargs)
        except Exception:
            best_effort(idempotency.release, claimed)
            raise
        return response

    return once


def _key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (key.strip() and len(key) <= idempotency.MAX_KEY_LENGTH and key.isprintable()):
        raise BadRequest(f"Idempotency-Key must be 1 to {idempotency.MAX_KEY_LENGTH} printable characters.")
    return key


def _fingerprint(body: Callable[[], bytes]) -> str:
    """Hash method, path, query and raw body: bodies that differ only in whitespace are different requests."""
    asked = f"{request.method} {request.full_path}\n".encode("utf-8", "surrogatepass")
    return hashlib.sha256(asked + body()).hexdigest()


def _kept(response: Response) -> Answer:
    return Answer(response.status_code, response.get_data(as_text=True), response.location, now())


def _replay(answer: Answer) -> Response:
    response = Response(answer.body, answer.status, mimetype="application/json")
    if answer.location:
        response.headers["Location"] = answer.location
    response.headers["Idempotent-Replayed"] = "true"
    return response
