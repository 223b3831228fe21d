"""OAuth 2.0 client credentials: some PMSs issue a token for an id and a secret."""

import time

from portal.listings.providers.account import PAGE_DEADLINE_S
from portal.listings.providers.base import Account, Field, Token

DEFAULT_LIFETIME_S = 3600.0  # if the PMS doesn't return one
MAX_LENGTH = 8_000  # characters; a JWT has about a thousand

CLIENT_ID, CLIENT_SECRET = "clientId", "clientSecret"


def fields(id_label: str, secret_label: str, hint: str = "") -> tuple[Field, Field]:
    """Return the fields that people enter."""
    return Field(CLIENT_ID, id_label, hint=hint), Field(CLIENT_SECRET, secret_label, is_secret=True)


def sign_in(account: Account, path: str, *, scope: str, valid_after_s: float = 0.0) -> Token:
    """Request a token, without retries. Raises RequestRefused (`credentials`) and Unreachable."""
    requested_at = time.time()
    response = account.post_form(
        path,
        {
            "grant_type": "client_credentials",
            "client_id": account.credentials[CLIENT_ID],
            "client_secret": account.credentials[CLIENT_SECRET],
            "scope": scope,
        },
    )
    secret, lifetime_s = response.get("access_token"), response.get("expires_in")
    if (
        not isinstance(secret, str)
        or not 0 < len(secret) <= MAX_LENGTH
        or not (secret.isascii() and secret.isprintable())
    ):
        raise account.bad_response("contains no token")
    if type(lifetime_s) is not int or not 0 < lifetime_s < 10 * 365 * 24 * 3600:
        lifetime_s = DEFAULT_LIFETIME_S
    if lifetime_s < 2 * PAGE_DEADLINE_S:  # expires before a page is read: we would request tokens forever
        raise account.bad_response("contains a token that expires too soon")
    return Token(secret, valid_from=time.time() + valid_after_s, valid_until=requested_at + lifetime_s)
