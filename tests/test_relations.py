"""Relations are never loaded lazily, and no secret is loaded with a row that is only shown."""

from sqlalchemy import inspect, select

from portal.accounts.models import ApiKey, Session, User
from portal.db import Base, db
from portal.images.models import Property
from portal.listings.models import IntegrationAccount, IntegrationDefinition
from portal.webhooks import endpoints
from portal.webhooks.models import Endpoint
from tests.factories import Person

ALWAYS_WANTED = {
    Session.user,
    User.workspace,
    ApiKey.workspace,
    Property.workspace,
    IntegrationDefinition.workspace,
    IntegrationAccount.definition,
}
"""Whoever reads the row asks whose it is."""


def test_a_relation_is_loaded_only_by_queries_that_ask_for_it() -> None:
    joined = {
        relation.class_attribute
        for mapper in Base.registry.mappers
        for relation in mapper.relationships
        if relation.lazy not in ("raise", "raise_on_sql")
    }
    assert joined == ALWAYS_WANTED


def test_a_webhook_is_shown_without_its_secrets_being_decrypted(alice: Person) -> None:
    endpoints.create(alice.workspace, "https://example.org/hook", ["property.updated"])
    db.session.expire_all()
    endpoint = db.session.scalars(select(Endpoint)).one()
    assert {"secret", "old_secret"} <= inspect(endpoint).unloaded
