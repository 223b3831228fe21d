"""Jobs of the webhooks."""

from portal.webhooks import delivery
from workers import job


@job
def deliver_webhooks() -> None:
    delivery.run()
