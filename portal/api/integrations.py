"""Image CDN contract: enable and disable it per provider; as an extension, manage and sync PMS accounts."""

from uuid import UUID

from flask import Response, url_for
from flask_openapi.models.tag import Tag
from pydantic import Field, RootModel

from portal.api import auth
from portal.api.blueprints import image_cdn_blueprint
from portal.api.bodies import ImageCdnBody, ImageCdnData, Moment, Path, Text, answer, example
from portal.api.idempotency import idempotent
from portal.listings import integrations, providers, removal
from portal.listings.models import IntegrationAccount, IntegrationDefinition

DEFINITION = {  # the contract's example
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

blueprint = image_cdn_blueprint(
    "integrations_v1",
    "/integration-definition",
    Tag(
        name="Integrations", description="Property management systems (PMS), their accounts, and the Image CDN of each."
    ),
)


class ProviderPath(Path):
    provider: str = Field(description="The PMS, such as HOSTAWAY. Case-insensitive.", examples=["HOSTAWAY"])


class AccountPath(ProviderPath):
    id: str


class SwitchBody(ImageCdnBody):
    model_config = example({"enableImagesCDN": True})
    enable_images_cdn: bool


class ConnectBody(ImageCdnBody):
    model_config = example({"name": "Alma Stays", "credentials": {"clientId": "12345", "clientSecret": "a-secret"}})
    name: Text = Field("", description="Max 120 characters. Defaults to the provider's name.")
    credentials: dict[str, Text] = Field(description="The credentials that this provider requires. Never returned.")


class AccountChangeBody(ImageCdnBody):
    model_config = example({"name": "Alma by the Sea", "credentials": {"clientSecret": "another-secret"}})
    name: Text | None = Field(None, description="Max 120 characters. An empty string resets it to the provider's name.")
    credentials: dict[str, Text] | None = Field(
        None,
        description="Fields that are sent replace the stored ones; an empty value removes an optional field. If the "
        "address (`baseUrl`, `url`) changes, the secrets must be sent again. Never returned.",
    )


class DefinitionData(ImageCdnData):
    model_config = example(DEFINITION)
    id: UUID
    name: str
    provider: str
    enable_images_cdn: bool
    created_at: Moment
    updated_at: Moment


class DefinitionsAnswer(RootModel[list[DefinitionData]]):
    """The definitions that have been connected or switched, sorted by provider."""


class ProgressData(ImageCdnData):
    """The progress of the current sync or, if none is running, of the last one."""

    pages: int
    listings: int = Field(
        description="The number of distinct listings found. A list that changes while it is read is read several times."
    )
    total: int | None = Field(description="null if the PMS does not report it.")


class AccountData(ImageCdnData):
    model_config = example(ACCOUNT)
    id: UUID
    name: str
    provider: str
    created_at: Moment
    last_synced_at: Moment | None = Field(description="When the last complete sync ended.")
    next_sync_at: Moment | None = Field(description="null during a sync.")
    syncing: bool = Field(description="Whether a sync is running or queued.")
    progress: ProgressData
    error: str | None = Field(description="Why the last sync failed, or why the current one is paused.")
    note: str | None = Field(
        description="What was unusual in the PMS's responses, or why the last sync was incomplete."
    )


class AccountsAnswer(RootModel[list[AccountData]]):
    """The accounts, oldest first."""


@blueprint.get("", responses={200: DefinitionsAnswer})
def list_definitions() -> Response:
    """List the integration definitions of the workspace."""
    return answer(DefinitionsAnswer([_definition(each) for each in integrations.definitions(auth.workspace())]))


@blueprint.patch("/<provider>/images-cdn", responses={200: DefinitionData})
@idempotent
def switch(path: ProviderPath, body: SwitchBody) -> Response:
    """Enable or disable the Image CDN for a provider.

    Enabling it immediately starts a listing sync of each of the provider's accounts, which queues their images.
    Once it is disabled, no new images are queued, existing CDN URLs remain valid, and listings return their original
    PMS URLs.
    """
    switched = integrations.switch_image_cdn(auth.workspace(), path.provider, enabled=body.enable_images_cdn)
    return answer(_definition(switched))


@blueprint.get("/<provider>/accounts", responses={200: AccountsAnswer})
def list_accounts(path: ProviderPath) -> Response:
    """List the connected accounts of a provider."""
    mine = integrations.accounts_of(auth.workspace(), path.provider)
    return answer(AccountsAnswer([_account(each) for each in mine]))


@blueprint.post("/<provider>/accounts", responses={201: AccountData})
@idempotent
def connect(path: ProviderPath, body: ConnectBody) -> Response:
    """Connect an account. Its first sync starts immediately."""
    account = integrations.connect(auth.workspace(), path.provider, body.credentials, name=body.name)
    data = _account(account)
    return answer(data, 201, url_for(".show_account", provider=data.provider, id=data.id))


@blueprint.get("/<provider>/accounts/<id>", responses={200: AccountData})
def show_account(path: AccountPath) -> Response:
    """Get one account with the state of its sync."""
    return answer(_account(_found(path)))


@blueprint.patch("/<provider>/accounts/<id>", responses={200: AccountData})
@idempotent
def change_account(path: AccountPath, body: AccountChangeBody) -> Response:
    """Change an account's name or credentials. New credentials start a sync immediately.

    If the new credentials belong to a different account at the PMS, its listings replace the current ones.
    """
    return answer(_account(integrations.change(_found(path), name=body.name, credentials=body.credentials)))


@blueprint.delete("/<provider>/accounts/<id>", responses={204: None})
@idempotent
def remove_account(path: AccountPath) -> Response:
    """Remove an account with its listings, their images and the copies in the Image CDN."""
    removal.remove_account(_found(path))
    return Response(status=204)


@blueprint.post("/<provider>/accounts/<id>/sync", responses={202: AccountData})
@idempotent
def sync(path: AccountPath) -> Response:
    """Start a sync of an account, unless one is already running."""
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
    """Return an account's public fields, without credentials or token."""
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
