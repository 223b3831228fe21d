"""Jobs for webhooks."""

from portal.webhooks import delivery
from workers import job


@job
def deliver_webhooks() -> None:
    delivery.run()
