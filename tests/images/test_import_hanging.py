"""Eight workspaces import from hosts that hang until the deadline, and one from a host that answers: real workers.

An import is started each second, and must be done before five more are started. The seconds are printed: `pytest -m
storm -n 0 -s tests/images/test_import_hanging.py`."""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median

import pytest
from flask import Flask
from sqlalchemy import select

from portal.config import Settings
from portal.db import db
from portal.images import imports
from portal.images.imports import fetch
from portal.images.models import ImportJob
from tests import factories
from tests.factories import Person
from tests.images.test_import_fairness import links, photo
from tests.outside import Outside, Reply, outside
from tests.processes import until
from tests.workers.conftest import pool

BAD, HOSTS, IMPORTS = 8, 2, 3  # workspaces; hosts of each, as many as it may use in parallel; its imports of 20 URLs
GOOD, EVERY_S, WITHIN = 60, 1, 5

pytestmark = [pytest.mark.storm, pytest.mark.timeout(400)]


def import_what_hangs(app: Flask, n: int, hosts: list[Outside]) -> None:
    person = factories.person(app, f"Slow {n}", f"{n}@slow.example", admin=True, plan="pro")
    for k in range(IMPORTS):
        urls = [url for host in hosts for url in links(f"{host.url}/{k}", 20 // HOSTS)]
        imports.start(factories.home_of(person.workspace, f"House {k}"), urls)


def waits_s(property_ids: list[int]) -> list[float | None]:
    """How long each property's import took; None if it isn't done yet."""
    db.session.rollback()
    jobs = db.session.scalars(select(ImportJob).where(ImportJob.property_id.in_(property_ids)).order_by(ImportJob.id))
    return [(job.completed_at - job.created_at).total_seconds() if job.completed_at else None for job in jobs]


def test_hanging_hosts_delay_no_other_workspaces_imports(app: Flask, charlie: Person, settings: Settings) -> None:
    slow_for_s = fetch.DEADLINE_S + 5
    with ExitStack() as stack:
        quick = stack.enter_context(outside(photo))
        slow = [stack.enter_context(outside(lambda _: Reply(after_s=slow_for_s))) for _ in range(BAD * HOSTS)]
        for n in range(BAD):
            import_what_hangs(app, n, slow[n * HOSTS : (n + 1) * HOSTS])
        homes = [factories.home_of(charlie.workspace, f"His {n}") for n in range(GOOD)]
        ids = [home.id for home in homes]
        with pool(settings, app, "network", "network", "schedule"):
            until(lambda: all(host.seen for host in slow))
            for n, home in enumerate(homes):
                assert None not in waits_s(ids)[: max(0, n - WITHIN)], "an import waits for the hanging ones"
                imports.start(home, links(quick.url, 3))
                time.sleep(EVERY_S)
            until(lambda: None not in waits_s(ids))
            for host in slow:
                host.closed.set()
    waited_s = [wait_s for wait_s in waits_s(ids) if wait_s is not None]
    calls = sum(len(host.seen) for host in slow)
    print(
        f"\n{calls} calls hung: {len(waited_s)} imports, median {median(waited_s):.2f} s, longest {max(waited_s):.2f} s"
    )
