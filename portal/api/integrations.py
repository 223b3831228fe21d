"""Seed A, "Enabling" and "Disabling Image CDN"; around them the accounts of a PMS, and their sync (A17)."""

from uuid import UUID

from flask import Response, url_for
from flask_openapi.models.tag import Tag
from pydantic import Field, RootModel

from portal.api import auth
from portal.api.blueprints import speaking_a
from portal.api.bodies import BodyA, DataA, Moment, Path, Text, answer, example
from portal.api.idempotency import idempotent
from portal.listings import integrations, providers, removal
from portal.listings.models import IntegrationAccount, IntegrationDefinition

DEFINITION = {  # the document's example
    "id": "uuid",
    "name": "Hostaway",
    "provider": "HOSTAWAY",
    "enableImagesCDN": True,
    "createdAt": "2025-01-01T00:00:00.000Z",
    "updatedAt": "2025-06-01T12:00:00.000Z",
}
ACCOUNT = {
    "id": "3f0c3f6e-8d0a-4c39-9a59-5d0f3b1f6f5b",
    "name": "Alma Stays",
    "provider": "HOSTAWAY",
    "createdAt": "2025-01-01T00:00:00.000Z",
    "lastSyncedAt": "2025-06-01T12:00:00.000Z",
    "nextSyncAt": "2025-06-01T12:15:00.000Z",
    "syncing": False,
    "progress": {"pages": 2, "listings": 200, "total": 200},
    "error": None,
    "note": None,
}

blueprint = speaking_a(
    "integrations_v1",
    "/integration-definition",
    Tag(name="Integrations", description="Property management systems, their accounts, and the Image CDN's switch."),
)


class ProviderPath(Path):
    provider: str = Field(description="Such as HOSTAWAY, in any case.", examples=["HOSTAWAY"])


class AccountPath(ProviderPath):
    id: str


class SwitchBody(BodyA):
    model_config = example({"enableImagesCDN": True})
    enable_images_cdn: bool


class ConnectBody(BodyA):
    model_config = example({"name": "Alma Stays", "credentials": {"clientId": "12345", "clientSecret": "a-secret"}})
    name: Text = Field("", description="Max 120 characters. The provider's name where there is none.")
    credentials: dict[str, Text] = Field(description="What this provider asks for. Never told again.")


class AccountChangeBody(BodyA):
    model_config = example({"name": "Alma by the Sea", "credentials": {"clientSecret": "another-secret"}})
    name: Text | None = Field(None, description="Max 120 characters. An empty one is the provider's name.")
    credentials: dict[str, Text] | None = Field(
        None,
        description="What is given replaces what was, an empty optional one is removed, and the rest stays. At another "
        "address (`baseUrl`, `url`) the secrets must be given again. Never told.",
    )


class DefinitionData(DataA):
    model_config = example(DEFINITION)
    id: UUID
    name: str
    provider: str
    enable_images_cdn: bool
    created_at: Moment
    updated_at: Moment


class DefinitionsAnswer(RootModel[list[DefinitionData]]):
    """Those that were connected or switched, by provider."""


class ProgressData(DataA):
    """Of the sync under way, or of the last one."""

    pages: int
    listings: int = Field(description="Distinct ones. A list whose order keeps changing is read several times.")
    total: int | None = Field(description="null where the PMS doesn't say it.")


class AccountData(DataA):
    model_config = example(ACCOUNT)
    id: UUID
    name: str
    provider: str
    created_at: Moment
    last_synced_at: Moment | None = Field(description="When the last whole sync ended.")
    next_sync_at: Moment | None = Field(description="null while it is syncing.")
    syncing: bool = Field(description="A sync is under way, or begins as soon as a worker is free.")
    progress: ProgressData
    error: str | None = Field(description="Why the last sync failed, or goes on a little later.")
    note: str | None = Field(description="What was odd in what the PMS said, or why the last sync was not whole.")


class AccountsAnswer(RootModel[list[AccountData]]):
    """The oldest first."""


@blueprint.get("", responses={200: DefinitionsAnswer})
def list_definitions() -> Response:
    """List the integration definitions of the workspace."""
    return answer(DefinitionsAnswer([_definition(each) for each in integrations.definitions(auth.workspace())]))


@blueprint.patch("/<provider>/images-cdn", responses={200: DefinitionData})
@idempotent
def switch(path: ProviderPath, body: SwitchBody) -> Response:
    """Switch a provider's Image CDN on or off.

    On, the next listing sync of each of its accounts queues the images, and it begins at once. Off, no new images
    are queued, existing CDN URLs remain valid, and listings have their original PMS URLs.
    """
    switched = integrations.switch(auth.workspace(), path.provider, enabled=body.enable_images_cdn)
    return answer(_definition(switched))


@blueprint.get("/<provider>/accounts", responses={200: AccountsAnswer})
def list_accounts(path: ProviderPath) -> Response:
    """List the accounts that are connected under a provider."""
    mine = integrations.accounts_of(auth.workspace(), path.provider)
    return answer(AccountsAnswer([_account(each) for each in mine]))


@blueprint.post("/<provider>/accounts", responses={201: AccountData})
@idempotent
def connect(path: ProviderPath, body: ConnectBody) -> Response:
    """Connect an account; its first sync begins at once."""
    account = integrations.connect(auth.workspace(), path.provider, body.credentials, name=body.name)
    data = _account(account)
    return answer(data, 201, url_for(".show_account", provider=data.provider, id=data.id))


@blueprint.get("/<provider>/accounts/<id>", responses={200: AccountData})
def show_account(path: AccountPath) -> Response:
    """Get one account, and how its sync stands."""
    return answer(_account(_found(path)))


@blueprint.patch("/<provider>/accounts/<id>", responses={200: AccountData})
@idempotent
def change_account(path: AccountPath, body: AccountChangeBody) -> Response:
    """Change an account's name, or its credentials; with these a sync begins at once.

    Where they are those of another account at the PMS, its listings take the place of these.
    """
    return answer(_account(integrations.change(_found(path), name=body.name, credentials=body.credentials)))


@blueprint.delete("/<provider>/accounts/<id>", responses={204: None})
@idempotent
def remove_account(path: AccountPath) -> Response:
    """Remove an account with its listings, their images and the copies of these."""
    removal.remove_account(_found(path))
    return Response(status=204)


@blueprint.post("/<provider>/accounts/<id>/sync", responses={202: AccountData})
@idempotent
def sync(path: AccountPath) -> Response:
    """Sync an account at once, unless a sync of it is under way."""
    return answer(_account(integrations.sync_now(_found(path))), 202)


def _found(path: AccountPath) -> IntegrationAccount:
    return integrations.find_account(auth.workspace(), path.id, path.provider)


def _definition(definition: IntegrationDefinition) -> DefinitionData:
    return DefinitionData(
        id=definition.uuid,
        name=providers.ALL[definition.provider].name,
        provider=definition.provider,
        enable_images_cdn=definition.enable_images_cdn,
        created_at=definition.created_at,
        updated_at=definition.updated_at,
    )


def _account(account: IntegrationAccount) -> AccountData:
    """An account without what lets us into it: credentials and token have no field here."""
    is_syncing = integrations.is_syncing(account)
    return AccountData(
        id=account.uuid,
        name=account.name,
        provider=account.definition.provider,
        created_at=account.created_at,
        last_synced_at=account.synced_at,
        next_sync_at=None if is_syncing else account.next_at,
        syncing=is_syncing,
        progress=ProgressData(pages=account.pages, listings=account.found, total=account.total),
        error=account.error,
        note=account.note,
    )
