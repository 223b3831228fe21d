"""OAuth's client credentials: how some PMSs hand out a token for an id and a secret."""

import time

from portal.listings.providers.account import PAGE_DEADLINE_S
from portal.listings.providers.base import Account, Field, Token

LIVES_S = 3600.0  # where the PMS doesn't say
LONGEST = 8_000  # characters; a JWT has about a thousand

CLIENT_ID, CLIENT_SECRET = "clientId", "clientSecret"


def fields(id_label: str, secret_label: str, hint: str = "") -> tuple[Field, Field]:
    """What is asked of people."""
    return Field(CLIENT_ID, id_label, hint=hint), Field(CLIENT_SECRET, secret_label, is_secret=True)


def sign_in(account: Account, path: str, *, scope: str, good_after_s: float = 0.0) -> Token:
    """Ask for a token, once. Raises Refused (`credentials`) and Unreachable."""
    asked_at = time.time()
    said = account.post_form(
        path,
        {
            "grant_type": "client_credentials",
            "client_id": account.credentials[CLIENT_ID],
            "client_secret": account.credentials[CLIENT_SECRET],
            "scope": scope,
        },
    )
    secret, lives_s = said.get("access_token"), said.get("expires_in")
    if not isinstance(secret, str) or not 0 < len(secret) <= LONGEST or not (secret.isascii() and secret.isprintable()):
        raise account.bad_answer("has no token in it")
    if type(lives_s) is not int or not 0 < lives_s < 10 * 365 * 24 * 3600:
        lives_s = LIVES_S
    if lives_s < 2 * PAGE_DEADLINE_S:  # over before a page is read with it: we would ask for tokens for ever
        raise account.bad_answer("has a token that is over at once")
    return Token(secret, good_from=time.time() + good_after_s, good_until=asked_at + lives_s)
