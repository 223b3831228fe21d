"""Connect, edit and remove PMS accounts. Only admins may manage them; everybody may see them."""

from collections.abc import Mapping
from uuid import UUID

from flask import Blueprint, redirect, render_template, request
from flask.typing import ResponseReturnValue

from portal.errors import Conflict, Invalid
from portal.listings import counts, integrations, providers, removal
from portal.listings.counts import Counts
from portal.listings.models import IntegrationAccount
from portal.listings.providers.base import Provider
from portal.pages.session import admin_only, current_user

blueprint = Blueprint("integrations", __name__, url_prefix="/listings")


@blueprint.get("/connect")
@admin_only
def choose() -> str:
    return render_template("listings/choose.html", providers=providers.ALL.values())


@blueprint.get("/connect/<provider>")
@admin_only
def connect_form(provider: str) -> str:
    return _form(providers.find(provider))


@blueprint.post("/connect/<provider>")
@admin_only
def connect(provider: str) -> ResponseReturnValue:
    """Connect an account and redirect to the page that shows its first sync."""
    known = providers.find(provider)
    credentials = {name: text for name, text in _submitted(known).items() if text}
    try:
        integrations.connect(current_user().workspace, known.key, credentials, name=request.form.get("name", ""))
    except (Invalid, Conflict) as error:
        return _form(known, error), 422
    return _to(known)


@blueprint.get("/accounts/<uuid:uuid>/edit")
@admin_only
def edit_form(uuid: UUID) -> str:
    account = _find(uuid)
    return _form(_provider(account), account=account)


@blueprint.post("/accounts/<uuid:uuid>/edit")
@admin_only
def edit(uuid: UUID) -> ResponseReturnValue:
    """Update an account's name and changed credentials. An optional secret is removed only by its checkbox."""
    account = _find(uuid)
    known, before = _provider(account), integrations.settings_of(account)
    removed = {field.name: "" for field in known.fields if f"remove-{field.name}" in request.form}
    changed = {name: text for name, text in _submitted(known).items() if text != before.get(name, "")} | removed
    try:
        integrations.change(account, name=request.form.get("name"), credentials=changed or None)
    except (Invalid, Conflict) as error:
        return _form(known, error, account), 422
    return _to(known)


@blueprint.get("/accounts/<uuid:uuid>/remove")
@admin_only
def confirm_remove(uuid: UUID) -> str:
    account = _find(uuid)
    its = counts.by_account(current_user().workspace).get(account.id, Counts())
    return render_template("listings/remove.html", account=account, provider=_provider(account), counts=its)


@blueprint.post("/accounts/<uuid:uuid>/remove")
@admin_only
def remove(uuid: UUID) -> ResponseReturnValue:
    account = _find(uuid)
    provider = _provider(account)
    removal.remove_account(account)
    return _to(provider)


def _find(uuid: UUID) -> IntegrationAccount:
    return integrations.find_account(current_user().workspace, str(uuid))


def _provider(account: IntegrationAccount) -> Provider:
    return providers.ALL[account.definition.provider]


def _to(provider: Provider) -> ResponseReturnValue:
    return redirect(f"/listings?provider={provider.key.lower()}", 303)


def _submitted(provider: Provider) -> dict[str, str]:
    form = request.form
    return {field.name: form[field.name].strip() for field in provider.fields if field.name in form}


def _form(
    provider: Provider, error: Invalid | Conflict | None = None, account: IntegrationAccount | None = None
) -> str:
    """Render the form with stored or submitted values. Secrets are never sent back."""
    wrong: Mapping[str, str] = {}
    if error:
        wrong = error.details if isinstance(error.details, dict) else {"form": error.message}
    typed = {"name": account.name, **integrations.settings_of(account)} if account else {}
    secrets = {field.name for field in provider.fields if field.is_secret}
    typed |= {name: text for name, text in request.form.items() if name not in secrets}
    more = [field for field in provider.fields if field.is_optional]
    return render_template(
        "listings/connect.html",
        provider=provider,
        account=account,
        more=more,
        is_open=any(typed.get(field.name) or field.name in wrong for field in more),
        typed=typed,
        wrong=wrong,
    )
