"""Integrations: which providers a workspace has, with which accounts, and whether their pictures are copied."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError

from portal.accounts.models import Workspace
from portal.db import as_uuid, db, is_storable, now
from portal.errors import Conflict, Invalid, NotFound
from portal.infra import jobs
from portal.listings import providers, sync
from portal.listings.models import IntegrationAccount, IntegrationDefinition
from portal.listings.providers.account import base_url_of
from portal.listings.providers.base import Provider
from portal.work import Work, lock, work

MAX_ACCOUNTS = 50  # of one provider


def definitions(workspace: Workspace) -> list[IntegrationDefinition]:
    """Return the providers that a workspace has connected or switched, by name."""
    mine = select(IntegrationDefinition).where(IntegrationDefinition.workspace_id == workspace.id)
    return list(db.session.scalars(mine.order_by(IntegrationDefinition.provider)))


def switch(workspace: Workspace, provider: str, *, enabled: bool) -> IntegrationDefinition:
    """Switch a provider's Image CDN on or off (seed A, "Enabling", "Disabling"). Raises NotFound for no provider.

    Off: nothing new is fetched, and reads show the PMS's own URLs. On: the copies there are show at once, and
    the next sync, which begins now, finds the rest. However many pictures there are, none is touched: see
    `copies.schedule`.
    """
    definition = _definition(workspace, providers.find(provider))
    with work() as w:
        lock(definition)
        if definition.enable_images_cdn != enabled:
            definition.enable_images_cdn = enabled
            if enabled:
                w.enqueue(jobs.image_cdn_upload())
                for account in accounts(definition):
                    if _hold(account):  # it may just have been removed, or its sync begun
                        _hurry(w, account)
    return definition


def connect(
    workspace: Workspace, provider: str, credentials: Mapping[str, Any], *, name: str = ""
) -> IntegrationAccount:
    """Add an account; its first sync begins at once. Raises NotFound for no provider, Invalid, Conflict."""
    known = providers.find(provider)
    checked, name = providers.checked(known, credentials), _name(known, name)
    definition = _definition(workspace, known)
    with work() as w:
        lock(definition)
        if len(accounts(definition)) >= MAX_ACCOUNTS:
            raise Conflict(f"A provider has at most {MAX_ACCOUNTS} accounts.", code="too_many_accounts")
        account = IntegrationAccount(definition_id=definition.id, name=name)
        _let_in(account, definition, known, checked)
        db.session.add(account)
        w.enqueue(jobs.sync_listings())
    return account


def change(
    account: IntegrationAccount, *, name: str | None = None, credentials: Mapping[str, str] | None = None
) -> IntegrationAccount:
    """Change what is given; of the credentials what isn't given stays, and what is blank goes.

    With credentials we are let in anew and a sync begins at once. Where they are those of another account at the PMS,
    its listings take the place of these. Raises Invalid, Conflict, NotFound.
    """
    definition, known = account.definition, providers.ALL[account.definition.provider]
    with work() as w:
        if not lock(definition) or not _hold(account):  # in this order, as a sync does
            raise NotFound("There is no such account.", code="account_not_found")
        if name is not None:
            account.name = _name(known, name)
        if credentials is not None:
            _let_in(account, definition, known, _renewed(account, known, credentials))
            sync.begin_anew(w, account)
    return account


def settings_of(account: IntegrationAccount) -> dict[str, str]:
    """Return what was typed to connect an account, but for its secrets."""
    secrets = {field.name for field in providers.ALL[account.definition.provider].fields if field.is_secret}
    return {name: text for name, text in _opened(account).items() if name not in secrets}


def accounts_of(workspace: Workspace, provider: str) -> list[IntegrationAccount]:
    """Return a provider's accounts, none where it was never connected. Raises NotFound for no provider."""
    definition = db.session.scalar(_mine(workspace, providers.find(provider).key))
    return accounts(definition) if definition else []


def accounts(definition: IntegrationDefinition) -> list[IntegrationAccount]:
    mine = select(IntegrationAccount).where(IntegrationAccount.definition_id == definition.id)
    return list(db.session.scalars(mine.order_by(IntegrationAccount.id)))


def all_accounts(workspace: Workspace) -> list[IntegrationAccount]:
    """Return the accounts of all providers of a workspace, in one statement."""
    mine = select(IntegrationAccount).join(IntegrationDefinition)
    mine = mine.where(IntegrationDefinition.workspace_id == workspace.id)
    return list(db.session.scalars(mine.order_by(IntegrationAccount.id)))


def find_definition(workspace: Workspace, provider: str) -> IntegrationDefinition:
    """Return a provider of this workspace, in any case (A12). Raises NotFound for one it has not, too."""
    key = providers.find(provider).key
    definition = db.session.scalar(_mine(workspace, key))
    if definition is None:
        raise NotFound("This provider is not connected.", code="integration_not_found")
    return definition


def find_account(workspace: Workspace, uuid: str, provider: str | None = None) -> IntegrationAccount:
    """Return an account of this workspace. Raises NotFound; foreign equals absent."""
    mine = (
        select(IntegrationAccount)
        .join(IntegrationDefinition, IntegrationAccount.definition_id == IntegrationDefinition.id)
        .where(IntegrationDefinition.workspace_id == workspace.id, IntegrationAccount.uuid == as_uuid(uuid))
    )
    if provider is not None:
        mine = mine.where(IntegrationDefinition.provider == providers.find(provider).key)
    account = db.session.scalar(mine)
    if account is None:
        raise NotFound("There is no such account.", code="account_not_found")
    return account


def sync_now(account: IntegrationAccount) -> IntegrationAccount:
    """Sync an account at once, unless a sync of it is under way. Raises NotFound when it is gone."""
    with work() as w:
        if not _hold(account):
            raise NotFound("There is no such account.", code="account_not_found")
        _hurry(w, account)
    return account


def is_syncing(account: IntegrationAccount) -> bool:
    """Whether a sync is under way, or begins as soon as a worker is free."""
    return account.started_at is not None or (account.next_at is not None and account.next_at <= now())


def _hold(account: IntegrationAccount) -> bool:
    """Lock an account; False where it is gone, or was removed meanwhile."""
    return lock(account) and account.removed_at is None


def _hurry(w: Work, account: IntegrationAccount) -> None:
    if account.started_at is None:
        account.next_at = now()
        w.enqueue(jobs.sync_listings())


def _definition(workspace: Workspace, provider: Provider) -> IntegrationDefinition:
    """Return the definition of a provider, made where there is none yet, however close the race."""
    if definition := db.session.scalar(_mine(workspace, provider.key)):
        return definition
    try:
        with work():
            definition = IntegrationDefinition(workspace_id=workspace.id, provider=provider.key)
            db.session.add(definition)
    except IntegrityError:
        return db.session.scalars(_mine(workspace, provider.key)).one()
    return definition


def _mine(workspace: Workspace, key: str) -> Select[IntegrationDefinition]:
    definition = IntegrationDefinition
    return select(definition).where(definition.workspace_id == workspace.id, definition.provider == key)


def _name(provider: Provider, text: str) -> str:
    name = text.strip() or provider.name
    if len(name) > 120 or not is_storable(name):
        raise Invalid("A name has at most 120 characters.", code="fields", details={"name": "At most 120 characters."})
    return name


def _let_in(
    account: IntegrationAccount, definition: IntegrationDefinition, provider: Provider, checked: Mapping[str, str]
) -> None:
    """Give an account its credentials, which no other one has; what came of those before is forgotten."""
    sealed = json.dumps(checked, sort_keys=True)
    if any(other.credentials == sealed for other in accounts(definition) if other is not account):
        raise Conflict("This account is connected already.", code="connected_already")
    account.credentials, account.token = sealed, None
    account.host = (_origin(provider, checked)[1] or provider.key)[:255]
    account.error, account.failures = None, 0


def _renewed(account: IntegrationAccount, provider: Provider, given: Mapping[str, str]) -> dict[str, str]:
    """Lay what is given over what there was. No secret goes to another address unless it is typed anew.

    Else whoever may change the address could read the secrets there, which are shown to nobody.
    """
    before = _opened(account)
    checked = providers.checked(provider, {**before, **given})
    kept = [field.name for field in provider.fields if field.is_secret and field.name in checked.keys() - given.keys()]
    if kept and _origin(provider, before) != _origin(provider, checked):
        again = "Type it again: it goes to another address now."
        raise Invalid(again, code="fields", details=dict.fromkeys(kept, again))
    return checked


def _opened(account: IntegrationAccount) -> dict[str, str]:
    """Return an account's credentials; none where they can't be read any more."""
    return dict(json.loads(account.credentials)) if account.credentials else {}


def _origin(provider: Provider, credentials: Mapping[str, str]) -> tuple[str, str]:
    """Scheme and host, as Account keeps to them."""
    parts = urlsplit(base_url_of(provider, credentials).lower())
    return parts.scheme, parts.netloc
