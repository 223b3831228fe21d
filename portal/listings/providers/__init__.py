"""The supported PMSs, one adapter per file; the guide Extend says how to add one."""

from portal.errors import NotFound
from portal.listings.providers.base import Provider
from portal.listings.providers.cloudbeds import Cloudbeds
from portal.listings.providers.fields import validated
from portal.listings.providers.generic import Generic
from portal.listings.providers.guesty import Guesty
from portal.listings.providers.hospitable import Hospitable
from portal.listings.providers.hostaway import Hostaway

__all__ = ["ALL", "find", "validated"]

ALL: dict[str, Provider] = {
    provider.key: provider for provider in (Hostaway(), Hospitable(), Guesty(), Cloudbeds(), Generic())
}
"""By key, in the order in which pages list them."""


def find(text: str) -> Provider:
    """Return the provider of this key, in any case. Raises NotFound."""
    provider = ALL.get(text.upper()) if text.isascii() else None
    if provider is None:
        raise NotFound("There is no such provider.", code="provider_not_found")
    return provider
