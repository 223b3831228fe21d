"""Integrations: which providers a workspace has, with which accounts, and whether their pictures are copied."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import defer

from portal import jobs
from portal.accounts.models import Workspace
from portal.db import as_uuid, db, is_storable, now
from portal.errors import Conflict, Invalid, NotFound
from portal.listings import providers
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
    the next sync, which begins now, finds the rest. No picture is touched, however many there are: see `turns`.
    """
    definition = _definition(workspace, providers.find(provider))
    with work() as w:
        lock(definition)
        if definition.enable_images_cdn != enabled:
            definition.enable_images_cdn = enabled
            if enabled:
                w.enqueue(jobs.image_cdn_upload())
                for account in accounts(definition):
                    _hurry(w, account)
    return definition


def connect(
    workspace: Workspace, provider: str, credentials: Mapping[str, Any], *, name: str = ""
) -> IntegrationAccount:
    """Add an account; its first sync begins at once. Raises NotFound for no provider, Invalid, Conflict."""
    known = providers.find(provider)
    checked = providers.checked(known, credentials)
    name = name.strip() or known.name
    if len(name) > 120 or not is_storable(name):
        raise Invalid("A name has at most 120 characters.", code="fields", details={"name": "At most 120 characters."})
    definition = _definition(workspace, known)
    with work() as w:
        lock(definition)
        mine = accounts(definition)
        if len(mine) >= MAX_ACCOUNTS:
            raise Conflict(f"A provider has at most {MAX_ACCOUNTS} accounts.", code="too_many_accounts")
        if any(account.credentials == _sealed(checked) for account in mine):
            raise Conflict("This account is connected already.", code="connected_already")
        account = IntegrationAccount(
            definition_id=definition.id, name=name, credentials=_sealed(checked), host=_host(known, checked)
        )
        db.session.add(account)
        w.enqueue(jobs.sync_listings())
    return account


def accounts_of(workspace: Workspace, provider: str) -> list[IntegrationAccount]:
    """Return a provider's accounts, none where it was never connected. Raises NotFound for no provider."""
    definition = db.session.scalar(_mine(workspace, providers.find(provider).key))
    return accounts(definition) if definition else []


def accounts(definition: IntegrationDefinition) -> list[IntegrationAccount]:
    mine = select(IntegrationAccount).where(IntegrationAccount.definition_id == definition.id)
    return list(db.session.scalars(mine.order_by(IntegrationAccount.id)))


def all_accounts(workspace: Workspace) -> list[IntegrationAccount]:
    """Return the accounts of all providers of a workspace, in one statement; their secrets stay in the database."""
    mine = select(IntegrationAccount).join(IntegrationDefinition)
    mine = mine.options(defer(IntegrationAccount.credentials), defer(IntegrationAccount.token))
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
        if not lock(account):
            raise NotFound("There is no such account.", code="account_not_found")
        _hurry(w, account)
    return account


def is_syncing(account: IntegrationAccount) -> bool:
    """Whether a sync is under way, or begins as soon as a worker is free."""
    return account.started_at is not None or (account.next_at is not None and account.next_at <= now())


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


def _sealed(credentials: Mapping[str, str]) -> str:
    return json.dumps(credentials, sort_keys=True)


def _host(provider: Provider, credentials: Mapping[str, str]) -> str:
    return (urlsplit(base_url_of(provider, credentials)).netloc.lower() or provider.key)[:255]
