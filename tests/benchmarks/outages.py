"""Each part away for a while, under load: python -m tests.benchmarks.outages [SECONDS] [NAME…]

The product runs as `python app.py` runs it: web server, workers, PostgreSQL, Valkey and SeaweedFS. 50 requests a second
come whatever happens to the others. Figures are seconds from the moment when a request was due. Afterwards everything
that was confirmed or accepted must be there within a minute: row, original, both variants, imported photo.

NAME is one of the outages below; without one, all of them. PRODUCT_LOG names a file for the product's output."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from portal.embedded.servers import http_answers
from tests import factories
from tests.benchmarks import openloop
from tests.benchmarks.openloop import HEADING, Answered, row
from tests.benchmarks.outage_world import Parts, World, installation, wait_for_all
from tests.outside import Reply, outside
from tests.processes import ROOT, until

SECONDS, WARM_UP_S = 60, 5
PER_SECOND = {
    "gallery page": 5,
    "list": 8,
    "presign": 5,
    "alt text": 5,
    "cached image": 8,
    "uncached image": 15,
    "confirm": 3,
    "import": 1,
}
OF_THE_BUCKET = {"uncached image", "confirm"}
ALL_THERE_WITHIN_S = 60


@dataclass(frozen=True)
class Outage:
    """What is taken away, which requests need it, and how it comes back."""

    needed_by: set[str]
    begin: Callable[[Parts], None]
    end: Callable[[Parts], None] = lambda parts: None


OUTAGES = {
    "nothing": Outage(set(), lambda parts: None),
    "s3-stopped": Outage(OF_THE_BUCKET, lambda parts: parts.stop(parts.s3), lambda parts: parts.resume(parts.s3)),
    "s3-500": Outage(OF_THE_BUCKET, lambda parts: parts.s3_answers(500), lambda parts: parts.s3_answers(0)),
    "s3-503": Outage(OF_THE_BUCKET, lambda parts: parts.s3_answers(503), lambda parts: parts.s3_answers(0)),
    "valkey-stopped": Outage(set(), lambda parts: parts.stop(parts.valkey), lambda parts: parts.resume(parts.valkey)),
    "postgresql-restarted": Outage(set(PER_SECOND), Parts.restart_postgres),
}


async def load(world: World, parts: Parts, outage: Outage, seconds: int) -> list[Answered]:
    """Send requests for so long, and take the part away meanwhile."""
    begin = asyncio.create_task(asyncio.to_thread(outage.begin, parts))
    sending = asyncio.create_task(openloop.run(world.port, PER_SECOND, world.makers(), seconds))
    await asyncio.sleep(seconds)
    await begin
    outage.end(parts)
    return await sending


def measure(name: str, world: World, parts: Parts, seconds: int) -> None:
    outage = OUTAGES[name]
    world.upload(PER_SECOND["confirm"] * seconds)
    answers = asyncio.run(load(world, parts, outage, seconds))
    came_back = time.monotonic()
    until(lambda: http_answers(f"http://127.0.0.1:{world.port}/readyz"), every_s=0.1)
    ready_s = time.monotonic() - came_back
    print(f"\n{name}, {seconds} s; {openloop.lag(answers)}\n{HEADING}")
    for title, is_needed in (("needs it", True), ("doesn't need it", False)):
        print(row(title, [each for each in answers if (each.kind in outage.needed_by) == is_needed]))
    for kind in PER_SECOND:
        print(row(f"  {kind}", [each for each in answers if each.kind == kind]))
    verify(world, answers, ready_s)


def verify(world: World, answers: list[Answered], ready_s: float) -> None:
    confirms = [each for each in answers if each.kind == "confirm"]
    confirmed = [each.body for each in confirms if each.status == 201]
    began = time.monotonic()
    later = world.confirm_again([each.request for each in confirms if each.status != 201], ALL_THERE_WITHIN_S)
    later_s = time.monotonic() - began
    images = [json.loads(body)["data"]["id"] for body in confirmed + later]
    accepted = [each.body for each in answers if each.kind == "import" and each.status == 202]
    imports = [json.loads(body)["data"]["jobId"] for body in accepted]
    found, took_s = wait_for_all(images, imports, ALL_THERE_WITHIN_S)
    print(f"/readyz is 200 after {ready_s:.1f} s. Confirmed meanwhile: {len(confirmed)} of {len(confirms)},")
    print(f"and within {later_s:.1f} s {len(later)} more. {took_s:.0f} s later there are {found.rows} rows,")
    print(f"{found.ready} with variants, {found.objects} of {3 * len(images)} objects,", end=" ")
    print(f"{found.imported} of {len(imports)} imports.", flush=True)


def main(words: list[str]) -> None:
    seconds = next((int(word) for word in words if word.isdecimal()), SECONDS)
    names = [word for word in words if not word.isdecimal()] or list(OUTAGES)
    photo = factories.jpeg(800, 600)
    with (
        outside(lambda _: Reply(body=photo, headers={"Content-Type": "image/jpeg"})) as host,
        installation() as running,
    ):
        app, parts, port = running
        # A property takes 60 photos, and thrice as many uploads that wait for their confirm.
        homes = max(8, (PER_SECOND["confirm"] + PER_SECOND["import"]) * seconds * len(names) // 40)
        world = World(app, port, host.url, homes)
        world.upload(PER_SECOND["confirm"] * WARM_UP_S)
        asyncio.run(openloop.run(port, PER_SECOND, world.makers(), WARM_UP_S))
        for name in names:
            measure(name, world, parts, seconds)


if __name__ == "__main__":
    assert Path.cwd() == ROOT, "run it from the repository's root"
    main(sys.argv[1:])
