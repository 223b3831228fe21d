"""The two buckets, over boto3. Each photo is written once, under a key of its own, and never overwritten.

`uploads` is private: what clients PUT, and the originals. `cdn` holds only what our own code wrote and
is safe to publish.
"""

import base64
import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from werkzeug.local import LocalProxy

from portal import config
from portal.config import Settings
from portal.errors import StorageFailed
from portal.infra.presign import Credentials, presign_put

IMMUTABLE = "public, max-age=31536000, immutable"
OWNER_KEY = "frontage-installation"  # of the object that names whose bucket it is; see portal/installation.py
MAX_KEYS = 1000  # S3's DeleteObjects: "up to 1,000 keys"
log = logging.getLogger(__name__)

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


@dataclass(frozen=True)
class Read(Stored):
    """An object with its bytes; None where there are more of them than were asked for."""

    data: bytes | None = None


class Bucket:
    """One bucket. Every call raises StorageFailed where the bucket doesn't answer or refuses."""

    def __init__(self, role: str, name: str, session: boto3.session.Session, client: Any, public_url: str) -> None:
        self.role = role  # "uploads" or "cdn", whatever it is called in this installation
        self.name, self._client, self._public_url = name, client, public_url
        self._credentials = session.get_credentials()  # they refresh themselves; None where boto3 found none
        self._region = client.meta.region_name

    def put(self, key: str, data: bytes, type: str) -> None:
        with _said_clearly():
            self._client.put_object(Bucket=self.name, Key=key, Body=data, ContentType=type, CacheControl=IMMUTABLE)

    def get(self, key: str) -> bytes | None:
        """The bytes, or None where there are none."""
        found = self.read(key)
        return found.data if found else None

    def read(self, key: str, *, most_bytes: int | None = None) -> Read | None:
        """What a bucket knows of an object, and its bytes, of one moment; None where there is none.

        Of an object of more than `most_bytes` the bytes are left where they are.
        """
        try:
            with _said_clearly():
                found = self._client.get_object(Bucket=self.name, Key=key)
                with closing(found["Body"]) as body:
                    is_small = most_bytes is None or found["ContentLength"] <= most_bytes
                    data = body.read() if is_small else None
        except _Absent:
            return None
        return Read(key, found["ContentLength"], found["ETag"], found["LastModified"], found.get("ContentType"), data)

    def head(self, key: str) -> Stored | None:
        try:
            with _said_clearly():
                found = self._client.head_object(Bucket=self.name, Key=key)
        except _Absent:
            return None
        return Stored(key, found["ContentLength"], found["ETag"], found["LastModified"], found.get("ContentType"))

    def delete(self, *keys: str) -> set[str]:
        """Delete objects, MAX_KEYS a call; one that isn't there is no error. Return those that could not be deleted."""
        kept: set[str] = set()
        for n in range(0, len(keys), MAX_KEYS):
            named = {"Objects": [{"Key": key} for key in keys[n : n + MAX_KEYS]], "Quiet": True}
            with _said_clearly():
                answer = self._client.delete_objects(Bucket=self.name, Delete=named)
            refused = {error["Key"]: error.get("Code") for error in answer.get("Errors", ())}
            kept |= {key for key, code in refused.items() if code not in ABSENT}
            if kept:
                log.warning("%d objects of %s can't be deleted: %s", len(kept), self.name, set(refused.values()))
        return kept

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Every object, but for the one that says whose bucket it is."""
        with _said_clearly():
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                for item in page.get("Contents", ()):
                    if item["Key"] != OWNER_KEY:
                        yield Stored(item["Key"], item["Size"], item["ETag"], item["LastModified"])

    def presign_put(self, key: str, *, content_type: str, size_bytes: int) -> str:
        """A URL that takes one object of exactly this key, type and size, for PRESIGN_LIFETIME_S."""
        if self._credentials is None:
            raise StorageFailed("There are no credentials for the photo storage.")
        found = self._credentials.get_frozen_credentials()
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


uploads = cast(Bucket, LocalProxy(lambda: config.parts()["uploads"]))
cdn = cast(Bucket, LocalProxy(lambda: config.parts()["cdn"]))
"""The buckets of the current app."""


def connect(settings: Settings) -> None:
    """Give the current app its buckets, over one S3 client (the first of a process costs 112 ms).

    A call gives up after 3 tries and about 10 s in all.
    """
    endpoint = None if settings.s3_endpoint_url == "aws" else settings.s3_endpoint_url
    session = boto3.session.Session(
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key,
        region_name=settings.s3_region,
    )
    client = session.client(
        "s3",
        endpoint_url=endpoint,
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
    client.meta.events.register("before-sign.s3.DeleteObjects", _add_md5)
    public = settings.s3_public_endpoint_url or endpoint
    for role, name in (("uploads", settings.s3_uploads_bucket), ("cdn", settings.s3_cdn_bucket)):
        url = f"{public}/{name}" if public else f"https://{name}.s3.{settings.s3_region}.amazonaws.com"
        config.parts()[role] = Bucket(role, name, session, client, url)


def _add_md5(request: Any, **_: Any) -> None:
    """Add the header that other S3 servers demand of DeleteObjects: boto3 sends a CRC-32 instead since 1.36."""
    digest = hashlib.md5(request.body, usedforsecurity=False).digest()
    request.headers["Content-MD5"] = base64.b64encode(digest).decode()


class _Absent(StorageFailed):
    """No such object."""


@contextmanager
def _said_clearly() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if code in ABSENT:
            raise _Absent("There is no such object.") from error
        raise StorageFailed(
            "The photo storage did not do what it was asked. Nothing was changed.", details=code
        ) from error
    except BotoCoreError as error:
        raise StorageFailed(
            "The photo storage did not answer. Nothing was changed.", details=type(error).__name__
        ) from error
