"""What waits too long is rung for again; what nobody owns is removed."""

from portal import owners
from portal.accounts import idempotency
from portal.images import fetching, tidying, variants
from portal.listings import copying, removal, sync
from portal.webhooks import delivery
from workers import job


@job
def ring_again() -> None:
    variants.ring_again()
    fetching.ring_again()
    delivery.ring_again()
    sync.ring_again()
    copying.ring_again()
    removal.ring_again()
    tidying.empty_bin()


@job
def tidy() -> None:
    tidying.tidy()
    removal.forget_superseded()
    owners.collect_orphans()
    delivery.forget()
    idempotency.forget()
