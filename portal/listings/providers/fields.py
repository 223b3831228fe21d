"""What people type to connect an account, and what is wrong with it, before anything is dialled."""

import re
from collections.abc import Mapping

from portal import remote
from portal.errors import Invalid
from portal.listings.providers.base import Field, Provider

MAX_LENGTH = 2_000  # characters

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_OURS = {  # headers by which a request is framed and routed
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
    """Say what is wrong with an address that we are to call."""
    try:
        remote.check_target(text)
    except remote.Refused as refused:
        return refused.message
    return None


def base_address(text: str) -> str | None:
    """Say what is wrong with an address to which paths are added."""
    return "An address without ? and #, please." if re.search("[?#]", text) else address(text)


def header_name(text: str) -> str | None:
    """Say what is wrong with a header's name."""
    is_good = _HEADER_NAME.fullmatch(text) and text.lower() not in _OURS and not text.lower().startswith("proxy-")
    return None if is_good else "That is no header that we could send."


def header_value(text: str) -> str | None:
    """Say what is wrong with what stands in a header."""
    return None if text.isascii() else "Only letters without accents, digits and signs."


BASE_URL = Field("baseUrl", "Address", is_optional=True, hint="Only where it is not the usual one", wrong=base_address)


def checked(provider: Provider, credentials: Mapping[str, str]) -> dict[str, str]:
    """Return what was typed, without white space around it and without blanks.

    Raises Invalid (`fields`) whose details have a sentence for each field that is missing, unknown or wrong.
    """
    typed = {name: text.strip() for name, text in credentials.items()}
    known = {field.name for field in provider.fields}
    problems = {name[:100]: f"{provider.name} has no such field." for name in typed if name not in known}
    for field in provider.fields:
        if problem := _problem(field, typed.get(field.name, "")):
            problems[field.name] = problem
    if problems:
        raise Invalid(" ".join(dict.fromkeys(problems.values())), code="fields", details=problems)
    return {name: text for name, text in typed.items() if text}


def _problem(field: Field, text: str) -> str | None:
    if not text:
        return None if field.is_optional else f"{field.label} is missing."
    if len(text) > MAX_LENGTH:
        return f"At most {MAX_LENGTH:,} characters."
    if not text.isprintable():
        return "No line breaks and no control characters."
    return field.wrong(text) if field.wrong else None
