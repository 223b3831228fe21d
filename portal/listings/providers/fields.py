"""Validation of the credentials that people enter, before any connection is made."""

import re
from collections.abc import Mapping

from portal import remote
from portal.errors import Invalid
from portal.listings.providers.base import Field, Provider

MAX_LENGTH = 2_000  # characters

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_RESERVED = {  # headers that frame or route a request
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


def address(text: str) -> str | None:
    """Return what is wrong with an address to call, or None."""
    try:
        remote.check_target(text)
    except remote.RequestRefused as refused:
        return refused.message
    return None


def base_address(text: str) -> str | None:
    """Return what is wrong with a base address, to which paths are added, or None."""
    return "The address must not contain ? or #." if re.search("[?#]", text) else address(text)


def header_name(text: str) -> str | None:
    """Return what is wrong with a header name, or None."""
    is_valid = _HEADER_NAME.fullmatch(text) and text.lower() not in _RESERVED and not text.lower().startswith("proxy-")
    return None if is_valid else "This header can't be used."


def header_value(text: str) -> str | None:
    """Return what is wrong with a header value, or None."""
    return None if text.isascii() else "Use only unaccented letters, digits and symbols."


BASE_URL = Field("baseUrl", "Address", is_optional=True, hint="Only if it is not the usual one", validate=base_address)


def validated(provider: Provider, credentials: Mapping[str, str]) -> dict[str, str]:
    """Return the credentials, stripped, without blank ones.

    Raises Invalid (`fields`), with a sentence in `details` for each missing, unknown or invalid field.
    """
    values = {name: text.strip() for name, text in credentials.items()}
    known = {field.name for field in provider.fields}
    problems = {name[:100]: f"{provider.name} has no such field." for name in values if name not in known}
    for field in provider.fields:
        if problem := _problem(field, values.get(field.name, "")):
            problems[field.name] = problem
    if problems:
        raise Invalid(" ".join(dict.fromkeys(problems.values())), code="fields", details=problems)
    return {name: text for name, text in values.items() if text}


def _problem(field: Field, text: str) -> str | None:
    if not text:
        return None if field.is_optional else f"{field.label} is missing."
    if len(text) > MAX_LENGTH:
        return f"At most {MAX_LENGTH:,} characters."
    if not text.isprintable():
        return "Line breaks and control characters are not allowed."
    return field.validate(text) if field.validate else None
