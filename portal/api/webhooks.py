"""Webhooks, an extension of the Property Images API: endpoints, their events, and their deliveries."""

from uuid import UUID

from flask import Response, url_for
from flask_openapi.models.tag import Tag
from pydantic import Field

from portal.api import auth
from portal.api.blueprints import property_images_blueprint
from portal.api.bodies import Body, Data, Moment, Path, Query, Text, answer, example
from portal.api.idempotency import idempotent
from portal.webhooks import delivery, endpoints, events
from portal.webhooks.models import DELIVERED, FAILED, PENDING, Delivery, Endpoint

MAX_DELIVERIES = 100
EVENTS = "; ".join(f"`{event}`: {what}" for event, what in events.EVENTS.items()) + "."
EXAMPLE = {"url": "https://example.com/hooks", "events": ["property.updated"]}

blueprint = property_images_blueprint(
    "webhooks_v1",
    "/webhooks",
    Tag(name="Webhooks", description="Signed events in the format of Standard Webhooks (standardwebhooks.com)."),
    read=auth.WEBHOOKS_SCOPE,
    write=auth.WEBHOOKS_SCOPE,
)


class WebhookPath(Path):
    id: str


class DeliveryPath(WebhookPath):
    delivery_id: str


class DeliveriesQuery(Query):
    limit: int = Field(50, ge=1, le=MAX_DELIVERIES)


class CreateBody(Body):
    model_config = example(EXAMPLE)
    url: Text = Field(description="An http or https URL that is reachable from the internet. Max 2048 chars.")
    events: list[Text] = Field(description=EVENTS, examples=[["property.updated"]])


class ChangeBody(Body):
    """Fields that are left out keep their values."""

    model_config = example({"enabled": False})
    url: Text | None = None
    events: list[Text] | None = Field(None, description=EVENTS)
    enabled: bool | None = Field(None, description="true also clears the failures that disabled the webhook.")


class WebhookData(Data):
    id: UUID
    url: str
    events: list[str]
    enabled: bool
    disabled_reason: str | None
    failing_since: Moment | None
    created_at: Moment


class WebhookAnswer(Data):
    data: WebhookData


class WebhooksAnswer(Data):
    data: list[WebhookData]


class SecretData(WebhookData):
    secret: str = Field(
        description="The signing secret. Returned only in this response.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    old_secret_until: Moment | None = Field(description="Until then, deliveries are also signed with the old secret.")


class SecretAnswer(Data):
    data: SecretData


class ReceiverAnswer(Data):
    """The receiver's response. Without a response, `status` is null and `body` gives the reason."""

    status: int | None
    body: str | None
    took_ms: int | None


class DeliveryData(Data):
    id: UUID
    message_id: str = Field(description="The `webhook-id` header, the same for every attempt.")
    event: str
    status: str = Field(json_schema_extra={"enum": [PENDING, DELIVERED, FAILED]})
    attempts: int
    request: str = Field(description="The request body.")
    answer: ReceiverAnswer | None = Field(description="The response to the last attempt; null before the first.")
    created_at: Moment
    last_attempt_at: Moment | None
    next_attempt_at: Moment | None


class DeliveryAnswer(Data):
    data: DeliveryData


class DeliveriesAnswer(Data):
    data: list[DeliveryData]


@blueprint.post("", responses={201: SecretAnswer})
@idempotent
def create(body: CreateBody) -> Response:
    """Create a webhook. Only this response contains its secret."""
    endpoint = endpoints.create(auth.workspace(), body.url, body.events)
    return answer(SecretAnswer(data=_secret(endpoint)), 201, url_for(".show", id=endpoint.uuid))


@blueprint.get("", responses={200: WebhooksAnswer})
def list_webhooks() -> Response:
    """List webhooks, newest first."""
    return answer(WebhooksAnswer(data=[_shown(endpoint) for endpoint in endpoints.all_of(auth.workspace())]))


@blueprint.get("/<id>", responses={200: WebhookAnswer})
def show(path: WebhookPath) -> Response:
    """Get one webhook."""
    return answer(WebhookAnswer(data=_shown(_found(path))))


@blueprint.patch("/<id>", responses={200: WebhookAnswer})
@idempotent
def change(path: WebhookPath, body: ChangeBody) -> Response:
    """Change a webhook's URL or events, or enable or disable it."""
    endpoint = endpoints.update(_found(path), url=body.url, wanted=body.events, enabled=body.enabled)
    return answer(WebhookAnswer(data=_shown(endpoint)))


@blueprint.delete("/<id>", responses={204: None})
@idempotent
def delete(path: WebhookPath) -> Response:
    """Delete a webhook and its deliveries."""
    endpoints.delete(_found(path))
    return Response(status=204)


@blueprint.post("/<id>/rotate-secret", responses={200: SecretAnswer})
@idempotent
def rotate_secret(path: WebhookPath) -> Response:
    """Create a new secret. The old one keeps signing deliveries for another 24 hours."""
    return answer(SecretAnswer(data=_secret(endpoints.rotate_secret(_found(path)))))


@blueprint.post("/<id>/test", responses={202: DeliveryAnswer})
@idempotent
def send_test(path: WebhookPath) -> Response:
    """Send a `webhook.test` event."""
    return answer(DeliveryAnswer(data=_sent(endpoints.send_test(_found(path)))), 202)


@blueprint.get("/<id>/deliveries", responses={200: DeliveriesAnswer})
def list_deliveries(path: WebhookPath, query: DeliveriesQuery) -> Response:
    """List a webhook's deliveries, newest first."""
    sent = endpoints.deliveries(_found(path), query.limit)
    return answer(DeliveriesAnswer(data=[_sent(each) for each in sent]))


@blueprint.post("/<id>/deliveries/<deliveryId>/resend", responses={202: DeliveryAnswer})
@idempotent
def resend(path: DeliveryPath) -> Response:
    """Resend a delivery, starting its retry schedule again."""
    found = endpoints.find_delivery(_found(path), path.delivery_id)
    delivery.send_again(found)
    return answer(DeliveryAnswer(data=_sent(found)), 202)


def _found(path: WebhookPath) -> Endpoint:
    return endpoints.find(auth.workspace(), path.id)


def _shown(endpoint: Endpoint) -> WebhookData:
    return WebhookData(
        id=endpoint.uuid,
        url=endpoint.url,
        events=endpoint.events,
        enabled=endpoint.disabled_at is None,
        disabled_reason=endpoint.disabled_reason,
        failing_since=endpoint.failing_since,
        created_at=endpoint.created_at,
    )


def _secret(endpoint: Endpoint) -> SecretData:
    shown = dict(_shown(endpoint))
    return SecretData(**shown, secret=endpoint.secret, old_secret_until=endpoint.old_secret_until)


def _sent(sent: Delivery) -> DeliveryData:
    tried = sent.status is not None or sent.answer is not None
    return DeliveryData(
        id=sent.uuid,
        message_id=sent.message_id,
        event=sent.event,
        status=sent.state,
        attempts=sent.attempts,
        request=sent.body,
        answer=ReceiverAnswer(status=sent.status, body=sent.answer, took_ms=sent.took_ms) if tried else None,
        created_at=sent.created_at,
        last_attempt_at=sent.last_at,
        next_attempt_at=sent.next_at,
    )
