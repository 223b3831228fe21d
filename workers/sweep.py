"""What waits too long is rung for again; what nobody owns is removed."""

from portal import orphans
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
    orphans.enqueue_missing()


@job
def collect_garbage() -> None:
    orphans.collect()


@job
def tidy() -> None:
    tidying.tidy()
    removal.forget_superseded()
    orphans.find()
    orphans.collect()
    delivery.forget()
    idempotency.forget()
