"""The former name of `portal.server`, which units of the release before start gunicorn with; for one release."""

from portal.server import *  # noqa: F403
