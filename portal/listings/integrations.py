"""Integrations: a workspace's providers, their accounts, and the Image CDN switch of each provider."""

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
    """Return the providers that a workspace has connected or configured, sorted by key."""
    query = select(IntegrationDefinition).where(IntegrationDefinition.workspace_id == workspace.id)
    return list(db.session.scalars(query.order_by(IntegrationDefinition.provider)))


def switch_image_cdn(workspace: Workspace, provider: str, *, enabled: bool) -> IntegrationDefinition:
    """Switch a provider's Image CDN on or off. Raises NotFound for an unknown provider.

    Image CDN contract, "Enabling Image CDN" and "Disabling Image CDN". While it is off, nothing is fetched and reads
    return the PMS's own URLs. Switching it on makes existing copies visible immediately and starts a sync that finds
    the rest. No ListingImage is written, however many there are: see `copies.selection`.
    """
    definition = _definition(workspace, providers.find(provider))
    with work() as w:
        lock(definition)
        if definition.enable_images_cdn != enabled:
            definition.enable_images_cdn = enabled
            if enabled:
                w.enqueue(jobs.image_cdn_upload())
                for account in accounts(definition):
                    if _lock_if_present(account):  # it may have been removed, or its sync may have started
                        _start_sync(w, account)
    return definition


def connect(
    workspace: Workspace, provider: str, credentials: Mapping[str, Any], *, name: str = ""
) -> IntegrationAccount:
    """Add an account and start its first sync. Raises NotFound for an unknown provider, Invalid, Conflict."""
    adapter = providers.find(provider)
    validated, name = providers.validated(adapter, credentials), _name(adapter, name)
    definition = _definition(workspace, adapter)
    with work() as w:
        lock(definition)
        if len(accounts(definition)) >= MAX_ACCOUNTS:
            raise Conflict(f"A provider can have at most {MAX_ACCOUNTS} accounts.", code="too_many_accounts")
        account = IntegrationAccount(definition_id=definition.id, name=name)
        _set_credentials(account, definition, adapter, validated)
        db.session.add(account)
        w.enqueue(jobs.sync_listings())
    return account


def change(
    account: IntegrationAccount, *, name: str | None = None, credentials: Mapping[str, str] | None = None
) -> IntegrationAccount:
    """Change an account's name or credentials. Credentials left out keep their value; blank ones are removed.

    New credentials discard the token and start a sync. If they belong to another account at the PMS, that account's
    listings replace the present ones. Raises Invalid, Conflict, NotFound.
    """
    definition, adapter = account.definition, providers.ALL[account.definition.provider]
    with work() as w:
        if not lock(definition) or not _lock_if_present(account):  # the same order as a sync, against deadlocks
            raise NotFound("There is no such account.", code="account_not_found")
        if name is not None:
            account.name = _name(adapter, name)
        if credentials is not None:
            _set_credentials(account, definition, adapter, _merge(account, adapter, credentials))
            sync.restart(w, account)
    return account


def settings_of(account: IntegrationAccount) -> dict[str, str]:
    """Return the credentials that were entered for an account, without its secrets."""
    secrets = {field.name for field in providers.ALL[account.definition.provider].fields if field.is_secret}
    return {name: text for name, text in _credentials(account).items() if name not in secrets}


def accounts_of(workspace: Workspace, provider: str) -> list[IntegrationAccount]:
    """Return a provider's accounts, possibly none. Raises NotFound for an unknown provider."""
    definition = db.session.scalar(_definition_query(workspace, providers.find(provider).key))
    return accounts(definition) if definition else []


def accounts(definition: IntegrationDefinition) -> list[IntegrationAccount]:
    query = select(IntegrationAccount).where(IntegrationAccount.definition_id == definition.id)
    return list(db.session.scalars(query.order_by(IntegrationAccount.id)))


def all_accounts(workspace: Workspace) -> list[IntegrationAccount]:
    """Return the accounts of all providers of a workspace, in one statement."""
    query = select(IntegrationAccount).join(IntegrationDefinition)
    query = query.where(IntegrationDefinition.workspace_id == workspace.id)
    return list(db.session.scalars(query.order_by(IntegrationAccount.id)))


def find_definition(workspace: Workspace, provider: str) -> IntegrationDefinition:
    """Return a provider of this workspace; the key's case is ignored. Raises NotFound if unknown or not connected."""
    key = providers.find(provider).key
    definition = db.session.scalar(_definition_query(workspace, key))
    if definition is None:
        raise NotFound("This provider is not connected.", code="integration_not_found")
    return definition


def find_account(workspace: Workspace, uuid: str, provider: str | None = None) -> IntegrationAccount:
    """Return an account of this workspace. Raises NotFound, also for another workspace's account."""
    query = (
        select(IntegrationAccount)
        .join(IntegrationDefinition, IntegrationAccount.definition_id == IntegrationDefinition.id)
        .where(IntegrationDefinition.workspace_id == workspace.id, IntegrationAccount.uuid == as_uuid(uuid))
    )
    if provider is not None:
        query = query.where(IntegrationDefinition.provider == providers.find(provider).key)
    account = db.session.scalar(query)
    if account is None:
        raise NotFound("There is no such account.", code="account_not_found")
    return account


def sync_now(account: IntegrationAccount) -> IntegrationAccount:
    """Start a sync of an account now, unless one is running. Raises NotFound if the account is gone."""
    with work() as w:
        if not _lock_if_present(account):
            raise NotFound("There is no such account.", code="account_not_found")
        _start_sync(w, account)
    return account


def is_syncing(account: IntegrationAccount) -> bool:
    """Return whether a sync is running, or starts as soon as a worker is free."""
    return account.started_at is not None or (account.next_at is not None and account.next_at <= now())


def _lock_if_present(account: IntegrationAccount) -> bool:
    """Lock an account; return False if it was removed meanwhile."""
    return lock(account) and account.removed_at is None


def _start_sync(w: Work, account: IntegrationAccount) -> None:
    if account.started_at is None:
        account.next_at = now()
        w.enqueue(jobs.sync_listings())


def _definition(workspace: Workspace, provider: Provider) -> IntegrationDefinition:
    """Return a provider's definition, and create it if there is none; safe under concurrent calls."""
    if definition := db.session.scalar(_definition_query(workspace, provider.key)):
        return definition
    try:
        with work():
            definition = IntegrationDefinition(workspace_id=workspace.id, provider=provider.key)
            db.session.add(definition)
    except IntegrityError:
        return db.session.scalars(_definition_query(workspace, provider.key)).one()
    return definition


def _definition_query(workspace: Workspace, key: str) -> Select[IntegrationDefinition]:
    definition = IntegrationDefinition
    return select(definition).where(definition.workspace_id == workspace.id, definition.provider == key)


def _name(provider: Provider, text: str) -> str:
    name = text.strip() or provider.name
    if len(name) > 120 or not is_storable(name):
        raise Invalid(
            "A name can have at most 120 characters.", code="fields", details={"name": "At most 120 characters."}
        )
    return name


def _set_credentials(
    account: IntegrationAccount, definition: IntegrationDefinition, provider: Provider, validated: Mapping[str, str]
) -> None:
    """Set an account's credentials and clear its token and errors. Raises Conflict if another account has them."""
    serialized = json.dumps(validated, sort_keys=True)
    if any(other.credentials == serialized for other in accounts(definition) if other is not account):
        raise Conflict("This account is already connected.", code="connected_already")
    account.credentials, account.token = serialized, None
    account.host = (_origin(provider, validated)[1] or provider.key)[:255]
    account.error, account.failures = None, 0


def _merge(account: IntegrationAccount, provider: Provider, changes: Mapping[str, str]) -> dict[str, str]:
    """Merge changed credentials into the present ones. Raises Invalid if a kept secret would go to a new address.

    Otherwise anyone allowed to change the address could capture secrets that the portal never reveals.
    """
    before = _credentials(account)
    validated = providers.validated(provider, {**before, **changes})
    kept_names = validated.keys() - changes.keys()
    kept = [field.name for field in provider.fields if field.is_secret and field.name in kept_names]
    if kept and _origin(provider, before) != _origin(provider, validated):
        again = "Enter it again: the address has changed."
        raise Invalid(again, code="fields", details=dict.fromkeys(kept, again))
    return validated


def _credentials(account: IntegrationAccount) -> dict[str, str]:
    """Return an account's credentials; empty if they can no longer be decrypted."""
    return dict(json.loads(account.credentials)) if account.credentials else {}


def _origin(provider: Provider, credentials: Mapping[str, str]) -> tuple[str, str]:
    """Return scheme and host; HttpAccount never leaves them."""
    parts = urlsplit(base_url_of(provider, credentials).lower())
    return parts.scheme, parts.netloc
