"""The people of a workspace: who they are, and how one more gets in."""

from sqlalchemy import select

from portal.accounts.models import User, Workspace
from portal.db import as_uuid, db
from portal.errors import NotFound


def people(workspace: Workspace) -> list[User]:
    """Return everybody of a workspace, admins first, then by name."""
    found = select(User).where(User.workspace_id == workspace.id)
    return list(db.session.scalars(found.order_by(User.is_admin.desc(), User.name, User.id)))


def find(workspace: Workspace, uuid: str) -> User:
    """Return one of this workspace's people. Raises NotFound; foreign equals absent."""
    user = db.session.scalar(select(User).where(User.workspace_id == workspace.id, User.uuid == as_uuid(uuid)))
    if user is None:
        raise NotFound("There is no such person.", code="person_not_found")
    return user
