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


def sign_in(account: Account, path: str, *, scope: str, good_after_s: float = 0.0) -> Token:
    """Request a token, without retries. Raises RequestRefused (`credentials`) and Unreachable."""
    asked_at = time.time()
    answer = account.post_form(
        path,
        {
            "grant_type": "client_credentials",
            "client_id": account.credentials[CLIENT_ID],
            "client_secret": account.credentials[CLIENT_SECRET],
            "scope": scope,
        },
    )
    secret, lives_s = answer.get("access_token"), answer.get("expires_in")
    if (
        not isinstance(secret, str)
        or not 0 < len(secret) <= MAX_LENGTH
        or not (secret.isascii() and secret.isprintable())
    ):
        raise account.bad_answer("contains no token")
    if type(lives_s) is not int or not 0 < lives_s < 10 * 365 * 24 * 3600:
        lives_s = DEFAULT_LIFETIME_S
    if lives_s < 2 * PAGE_DEADLINE_S:  # expires before a page is read: we would request tokens forever
        raise account.bad_answer("contains a token that expires too soon")
    return Token(secret, good_from=time.time() + good_after_s, good_until=asked_at + lives_s)
