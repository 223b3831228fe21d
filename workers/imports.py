"""Jobs for imports."""

from portal.images.imports import fetch
from workers import job


@job
def run_imports() -> None:
    fetch.run()
