"""The people of a workspace."""

from sqlalchemy import select

from portal.accounts.models import User, Workspace
from portal.db import as_uuid, db
from portal.errors import NotFound


def people(workspace: Workspace) -> list[User]:
    """Return the people of a workspace, admins first, then by name."""
    query = select(User).where(User.workspace_id == workspace.id)
    return list(db.session.scalars(query.order_by(User.is_admin.desc(), User.name, User.id)))


def find(workspace: Workspace, uuid: str) -> User:
    """Return a person of this workspace. Raises NotFound, also for another workspace's person."""
    user = db.session.scalar(select(User).where(User.workspace_id == workspace.id, User.uuid == as_uuid(uuid)))
    if user is None:
        raise NotFound("There is no such person.", code="person_not_found")
    return user
