"""Property Images API: import images by URL, and poll an import job."""

from uuid import UUID

from flask import Response
from flask_openapi.models.tag import Tag
from pydantic import Field

from portal.api import auth
from portal.api.blueprints import PropertyPath, property_images_blueprint
from portal.api.bodies import MAX_ITEMS, Body, Data, Moment, Text, answer, example
from portal.api.idempotency import idempotent
from portal.images import imports, properties
from portal.images.models import FAILED, ImportJob

blueprint = property_images_blueprint(
    "imports_v1",
    "/properties/<id>/images/import",
    Tag(name="Imports", description="Import images from public URLs in the background."),
)


class JobPath(PropertyPath):
    job_id: str


class ImportBody(Body):
    model_config = example(
        {"urls": ["https://example.com/listing-photo-1.jpg", "https://example.com/listing-photo-2.jpg"]}
    )
    urls: list[Text] = Field(min_length=1, max_length=MAX_ITEMS, description="Each up to 2048 chars.")


class Started(Data):
    job_id: UUID
    status: imports.Status
    total_urls: int


class StartedAnswer(Data):
    model_config = example(
        {"data": {"jobId": "9f1e1f2a-5b7c-4d3e-8f90-a1b2c3d4e5f6", "status": "pending", "totalUrls": 2}}
    )
    data: Started


class Failure(Data):
    """A URL that failed, with a stable code for programs and a message for people."""

    url: str
    code: str = Field(examples=["http_error"])
    message: str


class Poll(Started):
    imported: int
    failed: int
    total_bytes: int
    errors: list[Failure]
    created_at: Moment
    completed_at: Moment | None


class PollAnswer(Data):
    model_config = example(
        {
            "data": {
                "jobId": "9f1e1f2a-5b7c-4d3e-8f90-a1b2c3d4e5f6",
                "status": "completed",
                "totalUrls": 2,
                "imported": 2,
                "failed": 0,
                "totalBytes": 2300000,
                "errors": [],
                "createdAt": "2026-05-08T12:00:00.000Z",
                "completedAt": "2026-05-08T12:00:04.123Z",
            }
        }
    )
    data: Poll


@blueprint.post("", responses={202: StartedAnswer})
@idempotent
def start(path: PropertyPath, body: ImportBody) -> Response:
    """Import images from public URLs, in the background."""
    property = properties.find(auth.workspace(), path.id)
    job = imports.start(property, body.urls, added_by=auth.api_key().name)
    progress = imports.progress(job, imports.items(job))
    return answer(StartedAnswer(data=Started(job_id=job.uuid, status=progress.status, total_urls=progress.total)), 202)


@blueprint.get("/<jobId>", responses={200: PollAnswer})
def poll(path: JobPath) -> Response:
    """Get the status of an import."""
    job = imports.find(properties.find(auth.workspace(), path.id), path.job_id)
    return answer(PollAnswer(data=_data(job)))


def _data(job: ImportJob) -> Poll:
    items = imports.items(job)
    progress = imports.progress(job, items)
    return Poll(
        job_id=job.uuid,
        status=progress.status,
        total_urls=progress.total,
        imported=progress.imported,
        failed=progress.failed,
        total_bytes=progress.total_bytes,
        errors=[
            Failure(url=item.url, code=item.code or "failed", message=item.message or "")
            for item in items
            if item.state == FAILED
        ],
        created_at=job.created_at,
        completed_at=job.completed_at,
    )
