"""The job of the nightly audit."""

from portal.audit import scheduled
from workers import job


@job
def audit() -> None:
    scheduled.run()
