"""The former name of `portal.server`; kept for one release, as systemd units of the previous one use it."""

from portal.server import *  # noqa: F403
