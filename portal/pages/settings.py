"""Settings: plan and usage, API keys, people, and the user's own password."""

from typing import Any
from uuid import UUID

from flask import Blueprint, make_response, redirect, render_template
from flask.typing import ResponseReturnValue

from portal.accounts import access, people
from portal.accounts.plans import Plan
from portal.errors import Conflict, Invalid
from portal.images.usage import imports_this_month, usage
from portal.pages import session
from portal.pages.htmx import request
from portal.pages.session import admin_only, current_user, signed_in

blueprint = Blueprint("settings", __name__, url_prefix="/settings")


@blueprint.get("")
def first() -> ResponseReturnValue:
    return redirect("/settings/plan-and-keys")


@blueprint.get("/plan-and-keys")
@signed_in
def plan_and_keys() -> str:
    return _plan_and_keys()


@blueprint.post("/keys")
@admin_only
def create_key() -> ResponseReturnValue:
    """Create an API key. Its secret is shown in this response only."""
    user, typed = current_user(), request.form
    name, scopes, is_admin = typed.get("name", ""), set(typed.getlist("scopes")), "admin" in typed
    try:
        made = access.create_api_key(user.workspace, name, scopes=scopes, admin=is_admin, made_by=user.name)
    except Invalid as error:
        return _keys(wrong=error.message, typed={"name": name, "scopes": scopes, "admin": is_admin}), 422
    return _keys(made=made)


@blueprint.post("/keys/<uuid:uuid>/revoke")
@admin_only
def revoke_key(uuid: UUID) -> ResponseReturnValue:
    access.revoke_api_key(current_user().workspace, str(uuid))
    if request.htmx:
        return _keys()
    return redirect("/settings/plan-and-keys#keys", 303)


@blueprint.get("/people")
@signed_in
def everybody() -> str:
    return _people()


@blueprint.post("/people")
@admin_only
def add_person() -> ResponseReturnValue:
    """Add a person. Their sign-in link is shown in this response only."""
    typed = {"email": request.form.get("email", ""), "name": request.form.get("name", "").strip()}
    is_admin = "admin" in request.form
    try:
        user = access.create_user(current_user().workspace, typed["email"], name=typed["name"], admin=is_admin)
    except (Invalid, Conflict) as error:
        return _people(wrong=error.message, typed=typed | {"admin": is_admin}), 422
    return _people(person=user, link=session.link_url(access.create_sign_in_link(user)))


@blueprint.post("/people/<uuid:uuid>/link")
@admin_only
def link_person(uuid: UUID) -> ResponseReturnValue:
    """Create a new sign-in link for a person, such as one who forgot the password."""
    user = people.find(current_user().workspace, str(uuid))
    return _people(person=user, link=session.link_url(access.create_sign_in_link(user)))


@blueprint.get("/you")
@signed_in
def you() -> str:
    return render_template("settings/you.html", tab="you")


@blueprint.post("/you/password")
@signed_in
def set_password() -> ResponseReturnValue:
    """Set the user's own password. All other browsers are signed out."""
    user, password = current_user(), request.form.get("password", "")
    try:
        access.set_password(user, password)
    except Invalid as error:
        return render_template("settings/you.html", tab="you", wrong=error.message), 422
    answer = make_response(render_template("settings/you.html", tab="you", is_set=True))
    return session.start_session(answer, access.sign_in(user.email, password))


def _plan_and_keys(**more: Any) -> str:
    workspace = current_user().workspace
    plan: Plan = workspace.plan
    return render_template(
        "settings/plan_and_keys.html",
        tab="plan-and-keys",
        plan=plan,
        usage=usage(workspace),
        imports=imports_this_month(workspace),
        **_key_rows(),
        **more,
    )


def _keys(**more: Any) -> str:
    """Return the panel of keys for htmx, otherwise the whole page."""
    if request.htmx:
        return render_template("settings/_keys.html", **_key_rows(), **more)
    return _plan_and_keys(**more)


def _key_rows() -> dict[str, Any]:
    return {"keys": access.api_keys(current_user().workspace), "scopes": access.SCOPES}


def _people(**more: Any) -> str:
    template = "settings/_people.html" if request.htmx else "settings/people.html"
    return render_template(template, tab="people", people=people.people(current_user().workspace), **more)
