"""The S3 client: boto3's, with time-outs, a circuit breaker, and what other servers than Amazon's need."""

import base64
import hashlib
from typing import Any

import boto3
from botocore.config import Config

from portal.config import Settings
from portal.errors import drop_tracebacks
from portal.infra import s3_breaker
from portal.infra.circuit_breaker import Breaker


def create(session: boto3.session.Session, endpoint: str | None) -> tuple[Any, Breaker]:
    """Return a client and its breaker (the first client in a process takes 112 ms). The endpoint None is AWS itself.

    A call gives up after 3 attempts, or about 10 s in all; if the bucket answers nobody, as soon as that is known.
    """
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
            request_checksum_calculation="when_required",  # R2 and older servers don't support boto3's default
            response_checksum_validation="when_required",
        ),
    )
    client.meta.events.register("before-sign.s3.DeleteObjects", _add_md5)
    breaker = s3_breaker.guard(client)
    client.meta.events.register("needs-retry.s3", lambda caught_exception, **_: drop_tracebacks(caught_exception))
    return client, breaker


def session_of(settings: Settings) -> boto3.session.Session:
    return boto3.session.Session(
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key,
        region_name=settings.s3_region,
    )


def _add_md5(request: Any, **_: Any) -> None:
    """Add Content-MD5, which other S3 servers require for DeleteObjects; boto3 sends a CRC-32 instead since 1.36."""
    digest = hashlib.md5(request.body, usedforsecurity=False).digest()
    request.headers["Content-MD5"] = base64.b64encode(digest).decode()
