"""Jobs of the imports."""

from portal.images import fetching
from workers import job


@job
def run_imports() -> None:
    fetching.run()
