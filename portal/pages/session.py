"""Browser sessions: sign-in by password or link, sign-out, and decorators that require a session."""

from collections.abc import Callable
from functools import wraps
from typing import cast
from urllib.parse import quote, urlsplit

from flask import Blueprint, g, redirect, render_template
from flask.typing import ResponseReturnValue
from htmx_flask import make_response
from werkzeug import Response

from portal import config
from portal.accounts import access
from portal.accounts.models import User
from portal.errors import Forbidden, Unauthorized
from portal.pages.htmx import request
from portal.ratelimit import inbound

View = Callable[..., ResponseReturnValue]

HOME = "/properties"
PER_ACCOUNT = "10 per 15 minutes"  # guesses of one account's password …
PER_ADDRESS = "100 per 15 minutes"  # … and of all accounts', from one address

blueprint = Blueprint("session", __name__)


def current_user() -> User:
    """Return the signed-in user. Raises Unauthorized if there is no session or it has expired."""
    if "user" not in g:
        token = request.cookies.get(cookie_name())
        g.user = access.user_of_session(token) if token else None
    if g.user is None:
        raise Unauthorized("Sign in to continue.")
    return cast(User, g.user)


def signed_in(view: View) -> View:
    """Require a session; everybody else is redirected by `ask_to_sign_in`."""

    @wraps(view)
    def guarded(*args: object, **kwargs: object) -> ResponseReturnValue:
        current_user()
        return view(*args, **kwargs)

    return guarded


def admin_only(view: View) -> View:
    """Require an admin's session: editors get a 403, everybody else is asked to sign in."""

    @wraps(view)
    def guarded(*args: object, **kwargs: object) -> ResponseReturnValue:
        demand_admin()
        return view(*args, **kwargs)

    return guarded


def demand_admin() -> None:
    if not current_user().is_admin:
        raise Forbidden("Only an admin of your workspace can do that.")


def ask_to_sign_in(error: Unauthorized) -> Response:
    """Redirect to the sign-in page, which redirects back afterwards."""
    url = f"/sign-in?next={quote(_current_path(), safe='/')}"
    if request.htmx:
        return make_response(Response(error.message, 401), redirect=url, reswap="none")
    return redirect(url, 303)


def cookie_name() -> str:
    """Return the cookie's name. Browsers accept the __Host- prefix only over HTTPS and from this exact host."""
    return "__Host-frontage" if config.settings().https else "frontage"


def local_path(text: str) -> str:
    """Return `text` if it is a path on this site, otherwise the first page, so `next` can't redirect elsewhere.

    Browsers treat backslashes as slashes and ignore tabs and line breaks, so these are rejected.
    """
    is_unsafe = "\\" in text or any(character <= " " or character == "\x7f" for character in text)
    if is_unsafe or not text.startswith("/") or text.startswith("//") or urlsplit(text).path.startswith("/sign-"):
        return HOME
    return text


def link_url(token: str) -> str:
    """Return a one-time sign-in URL, for new people and forgotten passwords."""
    return f"{config.settings().public_url}/sign-in/link?token={token}"


def start_session(answer: Response, token: str) -> Response:
    """Set the cookie of a new session and end the browser's previous one, against session fixation."""
    old = request.cookies.get(cookie_name())
    if old:
        access.sign_out(old)
    https = config.settings().https
    lifetime_s = int(access.SESSION_LIFETIME.total_seconds())
    answer.set_cookie(cookie_name(), token, max_age=lifetime_s, secure=https, httponly=True, samesite="Lax")
    return answer


@blueprint.get("/sign-in")
def sign_in_page() -> ResponseReturnValue:
    next_path = local_path(request.args.get("next", ""))
    try:
        current_user()
    except Unauthorized:
        return render_template("session/sign_in.html", next=next_path)
    return redirect(next_path)


@blueprint.post("/sign-in")
def sign_in() -> ResponseReturnValue:
    _count_attempt()
    inbound.count(PER_ACCOUNT, f"account {_email().lower()[:254]}")
    next_path = local_path(request.form.get("next", ""))
    try:
        token = access.sign_in(_email(), request.form.get("password", ""))
    except Unauthorized as error:
        return render_template("session/sign_in.html", next=next_path, email=_email(), wrong=error.message), 422
    return start_session(redirect(next_path, 303), token)


@blueprint.get("/sign-in/link")
def link_page() -> str:
    """Show a button rather than signing in: mail clients prefetch links, which must not use this one up."""
    return render_template("session/link.html", token=request.args.get("token", ""))


@blueprint.post("/sign-in/link")
def sign_in_by_link() -> ResponseReturnValue:
    _count_attempt()
    try:
        token = access.sign_in_by_link(request.form.get("token", ""))
    except Unauthorized as error:
        return render_template("session/link.html", token="", wrong=error.message), 422
    return start_session(redirect(HOME, 303), token)


@blueprint.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    token = request.cookies.get(cookie_name())
    if token:
        access.sign_out(token)
    answer = make_response(redirect("/sign-in", 303))
    https = config.settings().https
    answer.delete_cookie(cookie_name(), secure=https, httponly=True, samesite="Lax")
    return answer


def _count_attempt() -> None:
    inbound.count(PER_ADDRESS, f"{request.endpoint} {inbound.client_address()}")


def _email() -> str:
    return request.form.get("email", "").strip()


def _current_path() -> str:
    """Return the path of the page in the browser, not of a fragment or a form's action."""
    if request.method == "GET" and not request.htmx:
        return local_path(request.full_path.removesuffix("?"))
    try:
        seen = urlsplit(request.htmx.current_url or request.referrer or "")
    except ValueError:
        return local_path("")
    return local_path(f"{seen.path}?{seen.query}" if seen.query else seen.path)
