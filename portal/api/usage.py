"""Usage, an extension of the Property Images API: every limit that can block a request, with its current usage."""

from uuid import UUID

from flask import Response
from flask_openapi.models.tag import Tag
from pydantic import Field

from portal.api import auth
from portal.api.blueprints import property_images_blueprint
from portal.api.bodies import Data, Moment, answer
from portal.images.usage import Usage, imports_this_month, outstanding, usage

blueprint = property_images_blueprint(
    "usage_v1", "/usage", Tag(name="Usage", description="The plan's limits and current usage.")
)


class PlanData(Data):
    name: str
    title: str


class FullestData(Data):
    id: UUID
    numeric_id: int
    name: str
    used: int


class ImagesPerProperty(Data):
    """The limit of images per property. Deleting images frees room."""

    limit: int
    fullest: FullestData | None = Field(
        description="The property with the most images; null if there are no properties."
    )


class ImportsThisMonth(Data):
    used: int
    pending: int = Field(description="Reserved for running imports; failed URLs are credited back.")
    limit: int
    resets_at: Moment


class UploadsOutstanding(Data):
    """Uploads that are presigned but not confirmed. Each stops counting when it is confirmed or expires."""

    unconfirmed: int
    limit_per_property: int
    next_expires_at: Moment | None


class UsageData(Data):
    plan: PlanData
    properties: int
    images: int
    size_bytes: int
    images_per_property: ImagesPerProperty
    imports_this_month: ImportsThisMonth
    uploads_outstanding: UploadsOutstanding


class UsageAnswer(Data):
    data: UsageData


@blueprint.get("", responses={200: UsageAnswer})
def show() -> Response:
    """Get the plan's limits and current usage."""
    workspace = auth.workspace()
    plan, used = workspace.plan, usage(workspace)
    data = UsageData(
        plan=PlanData(name=plan.name, title=plan.title),
        properties=used.properties,
        images=used.photos,
        size_bytes=used.size_bytes,
        images_per_property=ImagesPerProperty(limit=plan.images_per_property, fullest=_fullest(used)),
        imports_this_month=ImportsThisMonth(**imports_this_month(workspace)._asdict()),
        uploads_outstanding=UploadsOutstanding(**outstanding(workspace)._asdict()),
    )
    return answer(UsageAnswer(data=data))


def _fullest(used: Usage) -> FullestData | None:
    property = used.fullest
    if property is None:
        return None
    return FullestData(id=property.uuid, numeric_id=property.id, name=property.name, used=used.fullest_photos)
