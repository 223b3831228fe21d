"""The two buckets, over boto3. Each object is written once, under a key of its own, and never overwritten.

`uploads` is private: what clients PUT, and the originals. `cdn` holds only what our own code wrote and
is safe to publish.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from portal.config import Settings
from portal.errors import StorageFailed
from portal.presign import Credentials, presign_put

IMMUTABLE = "public, max-age=31536000, immutable"
ABSENT = {"404", "NoSuchKey", "NotFound"}
PRESIGN_LIFETIME_S = 3600  # contract.md, B7


@dataclass(frozen=True)
class Stored:
    """What a bucket knows of an object. The ETag is opaque: it is an MD5 only sometimes (case J9)."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime
    type: str | None = None


class Bucket:
    """One bucket. Every call raises StorageFailed where the bucket doesn't answer or refuses."""

    def __init__(self) -> None:
        self.name = ""
        self._client: Any = None
        self._public_url = ""
        self._region = ""

    def connect(self, client: Any, name: str, public_url: str) -> None:
        self.name, self._client, self._public_url = name, client, public_url
        self._region = client.meta.region_name

    def put(self, key: str, data: bytes, type: str) -> None:
        with _said_clearly():
            self._client.put_object(Bucket=self.name, Key=key, Body=data, ContentType=type, CacheControl=IMMUTABLE)

    def get(self, key: str, etag: str | None = None) -> bytes | None:
        """The bytes, or None where there are none; with `etag`, also None where they are others by now."""
        pinned = {"IfMatch": etag} if etag else {}
        try:
            with _said_clearly():
                body: bytes = self._client.get_object(Bucket=self.name, Key=key, **pinned)["Body"].read()
                return body
        except _Absent:
            return None

    def head(self, key: str) -> Stored | None:
        try:
            with _said_clearly():
                found = self._client.head_object(Bucket=self.name, Key=key)
        except _Absent:
            return None
        return Stored(key, found["ContentLength"], found["ETag"], found["LastModified"], found.get("ContentType"))

    def delete(self, *keys: str) -> None:
        """Delete objects; one that isn't there is no error."""
        with _said_clearly():
            for key in keys:
                self._client.delete_object(Bucket=self.name, Key=key)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        with _said_clearly():
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                for item in page.get("Contents", ()):
                    yield Stored(item["Key"], item["Size"], item["ETag"], item["LastModified"])

    def presign_put(self, key: str, *, content_type: str, size_bytes: int) -> str:
        """A URL that takes one object of exactly this key, type and size, for PRESIGN_LIFETIME_S."""
        credentials = self._client._request_signer._credentials  # None where boto3 found none
        if credentials is None:
            raise StorageFailed("There are no credentials for the photo storage.")
        found = credentials.get_frozen_credentials()
        return presign_put(
            self._public_url,
            key,
            content_type=content_type,
            size_bytes=size_bytes,
            expires_s=PRESIGN_LIFETIME_S,
            credentials=Credentials(found.access_key, found.secret_key, found.token),
            region=self._region,
            at=datetime.now(UTC),
        )

    @property
    def public_origin(self) -> str:
        """Where browsers PUT to: the pages' CSP must name it."""
        url = urlsplit(self._public_url)
        return f"{url.scheme}://{url.netloc}"

    def answers(self) -> bool:
        try:
            self._client.head_bucket(Bucket=self.name)
        except (BotoCoreError, ClientError):
            return False
        return True

    def prepare(self, origins: Sequence[str] = ()) -> None:
        """Make the bucket if it is missing; let pages of these origins PUT into it."""
        with _said_clearly():
            if not self.answers():
                self._client.create_bucket(Bucket=self.name)
            rule = {
                "AllowedOrigins": [*origins]
                or ["https://no.origin.invalid"],  # no rule at all would allow every origin
                "AllowedMethods": ["PUT"],
                "AllowedHeaders": ["Content-Type", "x-amz-*"],
                "ExposeHeaders": ["ETag"],
                "MaxAgeSeconds": 3600,
            }
            self._client.put_bucket_cors(Bucket=self.name, CORSConfiguration={"CORSRules": [rule]})


uploads = Bucket()
cdn = Bucket()


def connect(settings: Settings) -> None:
    """Make the one S3 client of this process (the first costs 112 ms) and give each bucket its name.

    A call gives up after 3 tries and about 10 s in all (case J7).
    """
    endpoint = None if settings.s3_endpoint_url == "aws" else settings.s3_endpoint_url
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if endpoint else "virtual"},
            connect_timeout=1,
            read_timeout=3,
            retries={"total_max_attempts": 3, "mode": "standard"},
            max_pool_connections=50,
            request_checksum_calculation="when_required",  # R2 and older servers know no other checksums
            response_checksum_validation="when_required",
        ),
    )
    for bucket, name in ((uploads, settings.s3_uploads_bucket), (cdn, settings.s3_cdn_bucket)):
        public = settings.s3_public_endpoint_url or endpoint
        bucket.connect(
            client,
            name,
            f"{public}/{name}" if public else f"https://{name}.s3.{settings.s3_region}.amazonaws.com",
        )


class _Absent(StorageFailed):
    """No such object, or not the one that was asked for."""


@contextmanager
def _said_clearly() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if code in ABSENT or code in ("412", "PreconditionFailed"):
            raise _Absent("There is no such object.") from error
        raise StorageFailed(
            "The photo storage did not do what it was asked. Nothing was changed.", details=code
        ) from error
    except BotoCoreError as error:
        raise StorageFailed(
            "The photo storage did not answer. Nothing was changed.", details=type(error).__name__
        ) from error
