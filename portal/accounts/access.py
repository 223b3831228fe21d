"""Authentication and authorization: people by password or link, browsers by session, programs by API key."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache

from sqlalchemy import bindparam, delete, select
from sqlalchemy.exc import IntegrityError
from werkzeug.security import check_password_hash, generate_password_hash

from portal.accounts.models import ApiKey, Session, SignInLink, User, Workspace
from portal.accounts.plans import PLANS
from portal.db import as_uuid, db, now
from portal.errors import Conflict, Forbidden, Invalid, NotFound, Unauthorized
from portal.work import best_effort, lock, work

SESSION_LIFETIME = timedelta(days=30)
LINK_LIFETIME = timedelta(hours=24)
KEY_PREFIX = "fr_live_"
LAST_USE_RESOLUTION = timedelta(minutes=1)  # last_used_at is informative; a write for each call would be too expensive
SCOPES = {
    "images:read": "See properties and their photos",
    "images:write": "Add, change and delete properties and photos",
    "webhooks": "See and change webhooks, and read what was sent to them",
    "integrations:read": "See listings from property management systems, and their pictures",
    "integrations:write": "Connect and sync property management systems, and switch the Image CDN",
}
MIN_PASSWORD_LENGTH = 10
HASH_METHOD = "scrypt"  # of passwords: method and cost, in Werkzeug's notation
KEY_OF_SECRET = select(ApiKey).where(ApiKey.secret_sha256 == bindparam("sha256"))  # built once for all calls
EMAIL = re.compile(r"[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+\.[^@\s\x00-\x1f]+")


@dataclass(frozen=True)
class NewKey:
    """A new API key with its secret, which is not stored."""

    key: ApiKey
    secret: str = field(repr=False)


def create_workspace(name: str, plan: str = "free") -> Workspace:
    """Create a workspace. Raises Invalid, or Conflict if the name is taken."""
    name = name.strip()
    if not 1 <= len(name) <= 120:
        raise Invalid("The name of a workspace must have 1 to 120 characters.")
    if plan not in PLANS:
        raise Invalid(f"There is no plan {plan!r}. Choose one of: {', '.join(PLANS)}.")
    with _unique(f"There is already a workspace called {name!r}."), work():
        workspace = Workspace(name=name, plan_name=plan)
        db.session.add(workspace)
    return workspace


def find_workspace(name: str) -> Workspace | None:
    return db.session.scalar(select(Workspace).where(Workspace.name == name))


def create_user(workspace: Workspace, email: str, *, name: str = "", admin: bool = False) -> User:
    """Add a person to a workspace. Raises Invalid, or Conflict if the e-mail address is taken."""
    email = email.strip().lower()
    if len(email) > 254 or not EMAIL.fullmatch(email):
        raise Invalid("Invalid e-mail address.")
    if len(name) > 120:
        raise Invalid("A name can have at most 120 characters.")
    with _unique(f"{email} is already in use."), work():
        user = User(workspace_id=workspace.id, email=email, name=name or email.split("@")[0], is_admin=admin)
        db.session.add(user)
    return user


def set_password(user: User, password: str) -> None:
    """Set a password and end all sessions of the person. Raises Invalid if it is too short or too long."""
    if not MIN_PASSWORD_LENGTH <= len(password) <= 200:
        raise Invalid(f"A password must have {MIN_PASSWORD_LENGTH} to 200 characters.")
    password_hash = generate_password_hash(password, HASH_METHOD)  # slow, so before the lock
    with work():
        if not lock(user):
            raise NotFound("There is no such person.", code="person_not_found")
        user.password_hash = password_hash
        db.session.execute(delete(Session).where(Session.user_id == user.id))


def create_sign_in_link(user: User) -> str:
    """Create a one-time sign-in link, valid for LINK_LIFETIME, and return its token."""
    token = secrets.token_urlsafe(32)
    with work():
        db.session.execute(delete(SignInLink).where(SignInLink.expires_at <= now()))
        db.session.add(SignInLink(user_id=user.id, token_sha256=_sha256(token), expires_at=now() + LINK_LIFETIME))
    return token


def sign_in(email: str, password: str) -> str:
    """Start a session and return its token. Raises Unauthorized, without telling which of the two is wrong."""
    user = db.session.scalar(select(User).where(User.email == email.strip().lower()))
    password_hash = user.password_hash if user and user.password_hash else _dummy_hash(HASH_METHOD)
    if not check_password_hash(password_hash, password) or user is None:  # unknown addresses cost the same time
        raise Unauthorized("The e-mail address or the password is wrong.")
    return _start_session(user, with_password=password_hash)


def sign_in_by_link(token: str) -> str:
    """Use up a sign-in link, start a session and return its token. Raises Unauthorized if it is used or expired."""
    link = db.session.scalar(select(SignInLink).where(SignInLink.token_sha256 == _sha256(token)))
    with work():
        if link is None or not lock(link) or link.expires_at <= now():
            raise Unauthorized("This sign-in link was already used or has expired. Ask for a new one.")
        user = db.session.get_one(User, link.user_id)
        db.session.delete(link)
    return _start_session(user)


def sign_out(token: str) -> None:
    """End a session immediately, in every process."""
    with work():
        db.session.execute(delete(Session).where(Session.token_sha256 == _sha256(token)))


def user_of_session(token: str) -> User | None:
    """Return the person of a session, or None if it has ended."""
    session = db.session.scalar(select(Session).where(Session.token_sha256 == _sha256(token)))
    return session.user if session and session.expires_at > now() else None


def create_api_key(
    workspace: Workspace, name: str, *, scopes: set[str] | None = None, admin: bool = False, made_by: str = ""
) -> NewKey:
    """Create a key with a random secret of 192 bits, which can't be retrieved later. Raises Invalid."""
    scopes = set(SCOPES) if scopes is None else scopes
    name = name.strip()
    if not 1 <= len(name) <= 120:
        raise Invalid("The name of a key must have 1 to 120 characters.")
    if not scopes or scopes - set(SCOPES):
        raise Invalid(f"A key needs one or more of these scopes: {', '.join(SCOPES)}.")
    secret = KEY_PREFIX + secrets.token_urlsafe(24)
    with work():
        key = ApiKey(
            workspace_id=workspace.id,
            name=name,
            hint=secret[: len(KEY_PREFIX) + 4],
            secret_sha256=_sha256(secret),
            scope_words=" ".join(sorted(scopes)),
            is_admin=admin,
            made_by=made_by,
        )
        db.session.add(key)
    return NewKey(key, secret)


def key_of_secret(secret: str) -> ApiKey:
    """Return the API key with this secret and record its use. Raises Unauthorized if it is unknown, revoked or expired.

    The lookup goes by hash, so its timing reveals nothing about the secret.
    """
    sha256 = _sha256(secret)
    key = db.session.scalar(KEY_OF_SECRET, {"sha256": sha256})
    if key is None or not hmac.compare_digest(key.secret_sha256, sha256) or not key.is_valid(now()):
        raise Unauthorized("The API key is unknown, revoked or expired.")
    if key.last_used_at is None or now() - key.last_used_at > LAST_USE_RESOLUTION:
        best_effort(_record_use, key)
    return key


def is_operator(user: User) -> bool:
    """Return whether a person operates the installation: an admin of the oldest workspace.

    Only operators may see the jobs of all workspaces, in RQ's dashboard.
    """
    first = db.session.scalar(select(Workspace.id).order_by(Workspace.id).limit(1))
    return user.is_admin and user.workspace_id == first


def require(key: ApiKey, scope: str | None = None, *, admin: bool = False) -> None:
    """Raise Forbidden if the key lacks the scope, or the admin role."""
    if scope and scope not in key.scopes:
        raise Forbidden(f"The API key lacks the scope {scope}.", details={"scope": scope})
    if admin and not key.is_admin:
        raise Forbidden("This requires an admin's API key.")


def api_keys(workspace: Workspace) -> list[ApiKey]:
    """Return the workspace's keys that aren't revoked, newest first."""
    query = select(ApiKey).where(ApiKey.workspace_id == workspace.id, ApiKey.revoked_at.is_(None))
    return list(db.session.scalars(query.order_by(ApiKey.id.desc())))


def revoke_api_key(workspace: Workspace, uuid: str) -> ApiKey:
    """Revoke a key immediately; revoking it again changes nothing. Raises NotFound."""
    key = db.session.scalar(select(ApiKey).where(ApiKey.workspace_id == workspace.id, ApiKey.uuid == as_uuid(uuid)))
    with work():
        if key is None or not lock(key):
            raise NotFound("There is no such key.", code="key_not_found")
        key.revoked_at = key.revoked_at or now()
    return key


@contextmanager
def _unique(message: str) -> Iterator[None]:
    """Translate a violated unique constraint into a Conflict, which also covers races."""
    try:
        yield
    except IntegrityError:
        raise Conflict(message) from None


def _start_session(user: User, *, with_password: str | None = None) -> str:
    """Start a session and return its token. Raises Unauthorized if the person is gone or the password has changed."""
    token = secrets.token_urlsafe(32)
    with work():
        if not lock(user) or (with_password and user.password_hash != with_password):
            raise Unauthorized("The password has just been changed. Sign in with the new one.")
        db.session.execute(delete(Session).where(Session.expires_at <= now()))
        db.session.add(Session(user_id=user.id, token_sha256=_sha256(token), expires_at=now() + SESSION_LIFETIME))
    return token


def _record_use(key: ApiKey) -> None:
    with work():
        if lock(key):
            key.last_used_at = now()


@lru_cache(maxsize=1)
def _dummy_hash(method: str) -> str:
    return generate_password_hash(secrets.token_urlsafe(16), method)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
