"""Our presigner produces botocore's URLs, only faster."""

import random
import string
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from botocore.config import Config

from portal.infra.presign import Credentials, presign_put

AT = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def botocore_client(endpoint: str | None, token: str | None) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="eu-west-1",
        aws_access_key_id="AKEXAMPLE",
        aws_secret_access_key="s3cr3t/with+signs",
        aws_session_token=token,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path" if endpoint else "virtual"}),
    )


def botocores(client: Any, key: str, type: str, size: int) -> str:
    with patch("botocore.auth.get_current_datetime", return_value=AT.replace(tzinfo=None)):
        url: str = client.generate_presigned_url(
            "put_object",
            Params={"Bucket": "frontage-uploads", "Key": key, "ContentType": type, "ContentLength": size},
            ExpiresIn=3600,
        )
    return url


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8333", "https://s3.example.com", None])
@pytest.mark.parametrize("token", [None, "a/session+token=="])
def test_a_url_equals_botocores_byte_for_byte(endpoint: str | None, token: str | None) -> None:
    dice = random.Random(f"{endpoint}{token}")
    base = f"{endpoint}/frontage-uploads" if endpoint else "https://frontage-uploads.s3.eu-west-1.amazonaws.com"
    client = botocore_client(endpoint, token)
    for _ in range(85):
        key = "images/" + "".join(dice.choices(string.ascii_letters + string.digits + "/-_.~", k=40)).replace("//", "/")
        type, size = dice.choice(["image/jpeg", "image/heic"]), dice.randrange(1, 10_485_760)
        ours = presign_put(
            base,
            key,
            content_type=type,
            size_bytes=size,
            expires_s=3600,
            credentials=Credentials("AKEXAMPLE", "s3cr3t/with+signs", token),
            region="eu-west-1",
            at=AT,
        )
        theirs = botocores(client, key, type, size)
        assert _split(ours) == _split(theirs)


def _split(url: str) -> tuple[str, list[str]]:
    """The order of query parameters is not specified; everything else must be equal."""
    path, _, query = url.partition("?")
    return path, sorted(query.split("&"))
