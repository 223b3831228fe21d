"""Encryption at rest, with a key derived from SECRET_KEY, for secrets that must be readable again."""

import base64
import logging
from datetime import timedelta
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator

from portal import config

UNREADABLE = "Waiting for the SECRET_KEY that this was encrypted with: {} can't be read."
RETRY_UNREADABLE_AFTER = timedelta(minutes=5)  # then see whether it can be read again

log = logging.getLogger(__name__)


class EncryptedText(TypeDecorator[str]):
    """A text column that stores only ciphertext, so that a database dump reveals nothing.

    A value written under another SECRET_KEY reads as None.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else _fernet(config.settings().secret_key).encrypt(value.encode()).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        try:
            return _fernet(config.settings().secret_key).decrypt(value.encode()).decode()
        except InvalidToken:
            log.warning("decryption failed: has SECRET_KEY changed?")
            return None


def fingerprint(secret_key: str) -> str:
    """Return 64 characters by which a key is recognised, and from which it can't be computed."""
    return _derived(secret_key, b"frontage: fingerprint").hex()


@lru_cache(maxsize=2)
def _fernet(secret_key: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(_derived(secret_key, b"frontage: sealed columns")))


def _derived(secret_key: str, purpose: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=purpose).derive(secret_key.encode())
