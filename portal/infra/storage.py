"""The two buckets, through boto3. Every object is written once, under a fresh key, and never overwritten.

`uploads` is private: it holds what clients PUT, and the originals. `cdn` holds only objects that our own code wrote
and that are safe to publish.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from werkzeug.local import LocalProxy

from portal import config
from portal.config import Settings
from portal.errors import StorageFailed, drop_tracebacks
from portal.infra import disk_space, s3_client
from portal.infra.circuit_breaker import Breaker
from portal.infra.presign import Credentials, presign_put
from portal.infra.s3_breaker import Unreachable

IMMUTABLE = "public, max-age=31536000, immutable"
OWNER_KEY = "frontage-installation"  # the object with the owning installation's id; see portal/installation.py
MAX_KEYS = 1000  # per call of S3's DeleteObjects
log = logging.getLogger(__name__)

ABSENT = {"404", "NoSuchKey", "NotFound"}
CHANGED = {"412", "PreconditionFailed", "416", "InvalidRange"}  # InvalidRange: it is shorter than its row says
PRESIGN_LIFETIME_S = 3600  # the Property Images API leaves it open


@dataclass(frozen=True)
class ObjectMetadata:
    """An object's metadata. The ETag is opaque: with encryption or multipart uploads it is not an MD5."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime
    type: str | None = None


@dataclass(frozen=True)
class ObjectContent(ObjectMetadata):
    """An object with its bytes; None if there are more than the caller wanted."""

    data: bytes | None = None


class ListedPage(NamedTuple):
    """Some objects of a bucket in the order of its listing, and the last key; None if no more follow."""

    objects: list[ObjectMetadata]
    until: str | None


@dataclass(frozen=True)
class Opened:
    """An object, or a range of it, whose bytes are still to be read; `is_changed`: its ETag is not the given one."""

    etag: str = ""
    body: Any = None
    is_changed: bool = False

    def close(self) -> None:
        if self.body is not None:
            self.body.close()


class Bucket:
    """One bucket. Every call raises StorageFailed if the bucket doesn't answer or refuses, see also s3_breaker."""

    def __init__(
        self,
        role: str,
        name: str,
        session: boto3.session.Session,
        client: Any,
        breaker: Breaker,
        public_url: str,
        demand_room: Callable[[], None],
    ) -> None:
        self.role = role  # "uploads" or "cdn", whatever the bucket's name is
        self.name, self._client, self._breaker, self._public_url = name, client, breaker, public_url
        self._credentials = session.get_credentials()  # refreshed by boto3; None if it found none
        self._region = client.meta.region_name
        self.demand_room = demand_room  # raises DiskFull if the bucket takes no more objects

    def put(self, key: str, data: bytes, type: str) -> str:
        """Write an object; return the ETag that the bucket gave it. Raises DiskFull, without a call to the bucket."""
        self.demand_room()
        with _translated():
            answer = self._client.put_object(
                Bucket=self.name, Key=key, Body=data, ContentType=type, CacheControl=IMMUTABLE
            )
        return str(answer["ETag"])

    def get(self, key: str) -> bytes | None:
        """Return an object's bytes, or None if it doesn't exist."""
        found = self.read(key)
        return found.data if found else None

    def read(self, key: str, *, most_bytes: int | None = None) -> ObjectContent | None:
        """Return an object's metadata and bytes from one request, so that they match; None if it doesn't exist.

        The bytes of an object larger than `most_bytes` are not read.
        """
        try:
            with _translated():
                found = self._client.get_object(Bucket=self.name, Key=key)
                with closing(found["Body"]) as body:
                    is_small = most_bytes is None or found["ContentLength"] <= most_bytes
                    data = body.read() if is_small else None
        except _Absent:
            return None
        return ObjectContent(
            key, found["ContentLength"], found["ETag"], found["LastModified"], found.get("ContentType"), data
        )

    def open(self, key: str, *, etag: str | None = None, wanted: tuple[int, int] | None = None) -> Opened | None:
        """Open an object, or a range of it (end excluded), if it has this ETag; None if it is missing."""
        conditions: dict[str, Any] = {"IfMatch": etag} if etag else {}
        if wanted:
            conditions["Range"] = f"bytes={wanted[0]}-{wanted[1] - 1}"
        try:
            with _translated():
                found = self._client.get_object(Bucket=self.name, Key=key, **conditions)
        except _Absent:
            return None
        except _Changed:
            return Opened(is_changed=True)
        return Opened(found["ETag"], found["Body"])

    def head(self, key: str) -> ObjectMetadata | None:
        try:
            with _translated():
                found = self._client.head_object(Bucket=self.name, Key=key)
        except _Absent:
            return None
        return ObjectMetadata(
            key, found["ContentLength"], found["ETag"], found["LastModified"], found.get("ContentType")
        )

    def delete(self, *keys: str) -> set[str]:
        """Delete objects, MAX_KEYS per call; return the keys that could not be deleted. A missing one is no error."""
        kept: set[str] = set()
        for n in range(0, len(keys), MAX_KEYS):
            named = {"Objects": [{"Key": key} for key in keys[n : n + MAX_KEYS]], "Quiet": True}
            with _translated():
                answer = self._client.delete_objects(Bucket=self.name, Delete=named)
            refused = {error["Key"]: error.get("Code") for error in answer.get("Errors", ())}
            kept |= {key for key, code in refused.items() if code not in ABSENT}
            if kept:
                reasons = set(refused.values())
                log.warning("deletion refused: bucket=%s objects=%d reasons=%s", self.name, len(kept), reasons)
        return kept

    def list(self, prefix: str = "") -> Iterator[ObjectMetadata]:
        """Yield every object, except the one at OWNER_KEY."""
        with _translated():
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                for item in page.get("Contents", ()):
                    if item["Key"] != OWNER_KEY:
                        yield ObjectMetadata(item["Key"], item["Size"], item["ETag"], item["LastModified"])

    def page(self, after: str = "", most: int = MAX_KEYS) -> ListedPage:
        """Return the objects whose keys follow `after`, from one request, except the one at OWNER_KEY."""
        with _translated():
            answer = self._client.list_objects_v2(Bucket=self.name, StartAfter=after, MaxKeys=most)
        found = answer.get("Contents", ())
        listed = [ObjectMetadata(item["Key"], item["Size"], item["ETag"], item["LastModified"]) for item in found]
        until = listed[-1].key if listed and answer["IsTruncated"] else None
        return ListedPage([each for each in listed if each.key != OWNER_KEY], until)

    def presign_put(self, key: str, *, content_type: str, size_bytes: int) -> str:
        """Return a URL that accepts a PUT of exactly this key, type and size, for PRESIGN_LIFETIME_S."""
        if self._credentials is None:
            raise StorageFailed("No credentials are configured for the photo storage.")
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
        """The origin that browsers PUT to; the pages' CSP must allow it."""
        url = urlsplit(self._public_url)
        return f"{url.scheme}://{url.netloc}"

    def demand_reachable(self) -> None:
        """Raise Unreachable while the circuit breaker is open, before work that would be in vain."""
        if self._breaker.is_open:
            raise Unreachable

    def answers(self) -> bool:
        """Return whether the bucket answers now. It is asked even while the circuit breaker is open."""
        try:
            self._client.head_bucket(Bucket=self.name)
        except (BotoCoreError, ClientError):
            return False
        return True

    def is_away(self, error: StorageFailed) -> bool:
        """Return whether a call failed because the bucket is away, and not because of its object."""
        return isinstance(error, Unreachable) or not self.answers()

    def prepare(self, origins: Sequence[str] = ()) -> None:
        """Create the bucket if it is missing, and allow pages of these origins to PUT into it."""
        with _translated():
            if not self.answers():
                self._client.create_bucket(Bucket=self.name)
            rule = {
                "AllowedOrigins": [*origins]
                or ["https://no.origin.invalid"],  # without any rule, every origin would be allowed
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
    """Create the current app's buckets, with one S3 client."""
    endpoint = None if settings.s3_endpoint_url == "aws" else settings.s3_endpoint_url
    session = s3_client.session_of(settings)
    client, breaker = s3_client.create(session, endpoint)
    public = settings.s3_public_endpoint_url or endpoint
    demand_room = partial(disk_space.demand_room, settings) if settings.has_embedded_s3 else lambda: None
    for role, name in (("uploads", settings.s3_uploads_bucket), ("cdn", settings.s3_cdn_bucket)):
        url = f"{public}/{name}" if public else f"https://{name}.s3.{settings.s3_region}.amazonaws.com"
        config.parts()[role] = Bucket(role, name, session, client, breaker, url, demand_room)


class _Absent(StorageFailed):
    """No such object."""


class _Changed(StorageFailed):
    """The object has another ETag than the one that was asked for."""


@contextmanager
def _translated() -> Iterator[None]:
    """Turn boto3's errors into StorageFailed."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code"))
        if code in ABSENT:
            raise _Absent("There is no such object.") from error
        if code in CHANGED:
            raise _Changed("The object has another ETag.") from error
        raise StorageFailed("The photo storage refused the request. Nothing was changed.", details=code) from error
    except BotoCoreError as error:
        drop_tracebacks(error)
        raise StorageFailed(
            "The photo storage did not answer. Nothing was changed.", details=type(error).__name__
        ) from error
