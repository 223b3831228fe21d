"""Recovery from kill -9: python -m tests.benchmarks.kills [KILLS] [--flush] [--only KIND]

`python app.py` runs while photos are uploaded, confirmed and looked at, and imports are started, steadily; clients
repeat what fails, under the same Idempotency-Key. Each kill hits a random process of a random kind: workers and their
work-horses, the worker pool, the sandbox's fork server, web workers, the web master, Valkey, SeaweedFS. With --flush,
each is followed by a FLUSHALL. A recovery lasts from the kill until everything that was confirmed or accepted before it
is complete, with variants, every part is ready and every process is back. In the end nothing may be lost, doubled or
left behind; exits with 1 if something is. With 0 kills it prints what the same condition takes without a kill."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from redis import Redis, RedisError
from sqlalchemy import func, select, update

from app import create_app
from portal import config
from portal.accounts.models import Workspace
from portal.db import db
from portal.images.models import READY, Image, ImportItem, ImportJob, Rendition, Upload
from portal.work import work
from tests.benchmarks.load import GIVE_UP_S, Load, picture
from tests.buckets import Buckets, collect_orphans
from tests.conftest import scratch
from tests.installation import installation
from tests.outside import Reply, Seen, outside
from tests.processes import descendants, until

CONTROLS = 5  # recoveries measured without a kill


def kinds(of: int) -> dict[str, list[int]]:
    """The process ids of each kind."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    above = {int(pid): int(parent) for pid, parent, _ in rows}
    found: dict[str, list[int]] = {}
    for pid, args in descendants(of).items():
        chain = [above.get(pid, 0), above.get(above.get(pid, 0), 0)]
        if kind := _kind(args, chain.index(of) if of in chain else 2):
            found.setdefault(kind, []).append(pid)
    return found


def _kind(args: str, depth: int) -> str | None:
    """Return the kind of a process that is so many levels below the supervisor's own children."""
    if "valkey-server" in args:
        return "Valkey"
    if "weed" in args and " mini " in args:
        return "SeaweedFS"
    if "forkserver.serve" in args:
        return "fork server" if depth == 2 else None
    if "gunicorn" in args:
        return ("web master", "web worker", None)[depth]
    if "workers.pool" in args:
        return ("worker pool", "worker", "work-horse")[depth]
    return None


@dataclass
class Recovery:
    """What waits for everything to be complete again."""

    load: Load
    counts: dict[str, int]

    def seconds(self, since: float) -> float:
        """Wait until everything is complete; return the seconds since then."""
        confirmed, accepted = list(self.load.confirmed), list(self.load.accepted)
        steps = {
            "complete": lambda: are_complete(confirmed, accepted),
            "ready": self.load.portal.is_ready,
            "running": self.are_running,
        }
        waits = {}
        for name, holds in steps.items():
            until(holds, GIVE_UP_S, every_s=0.1)
            waits[name] = time.monotonic() - since
        print("  ".join(f"{name} {took:.1f}" for name, took in waits.items()), flush=True)
        return waits["running"]

    def are_running(self) -> bool:
        now = kinds(self.load.portal.process.pid)
        return all(len(now.get(kind, ())) >= count for kind, count in self.counts.items())


def are_complete(confirmed: list[UUID], accepted: list[UUID]) -> bool:
    """Return whether these photos and imports are there, with the variants of all."""
    try:
        ready = select(func.count()).where(Image.uuid.in_(confirmed), Image.variants == READY)
        open_jobs = select(func.count()).where(ImportJob.uuid.in_(accepted), ImportJob.completed_at.is_(None))
        imported = (
            select(func.count())
            .select_from(ImportItem)
            .join(ImportJob)
            .join(Image, Image.uuid == ImportItem.image_uuid)
            .where(ImportJob.uuid.in_(accepted), Image.variants != READY)
        )
        return db.session.scalar(ready) == len(confirmed) and not (
            db.session.scalar(open_jobs) or db.session.scalar(imported)
        )
    finally:
        db.session.rollback()


def measure(load: Load, kills: int, *, flushes: bool, only: str | None) -> dict[str, list[float]]:
    """Kill again and again; return the seconds of each recovery, by kind."""
    chance, taken = random.Random(7), dict[str, list[float]]()
    until(lambda: len(load.confirmed) > 5 and "fork server" in kinds(load.portal.process.pid), GIVE_UP_S)
    optional = ("fork server", "work-horse")  # started when they are needed
    counts = {kind: len(pids) for kind, pids in kinds(load.portal.process.pid).items() if kind not in optional}
    print(f"processes: {counts}")
    recovery = Recovery(load, counts)
    redis = Redis.from_url(json.loads((load.portal.directory / "embedded.json").read_text())["redis_url"])
    for n in range(CONTROLS + kills):
        until(lambda: are_complete(list(load.confirmed), list(load.accepted)), GIVE_UP_S)  # no backlog of the last kill
        time.sleep(chance.uniform(0.5, 2))
        kind = "(none)" if n < CONTROLS else only or chance.choice([*counts, *optional])
        if kind != "(none)":
            until(lambda kind=kind: kinds(load.portal.process.pid).get(kind), GIVE_UP_S)
            with suppress(ProcessLookupError, KeyError):
                os.kill(chance.choice(kinds(load.portal.process.pid)[kind]), signal.SIGKILL)
        since = time.monotonic()
        if flushes and kind != "(none)":
            with suppress(RedisError):
                redis.flushall()
        print(f"{n - CONTROLS + 1:4} {kind:12}", end=" ", flush=True)
        taken.setdefault(kind, []).append(recovery.seconds(since))
    return taken


def report(taken: dict[str, list[float]]) -> None:
    """Print the recoveries by kind, and all together without the controls."""
    killed = [took for kind, each in taken.items() if kind != "(none)" for took in each]
    print(f"\n{'':12} {'n':>4} {'p50':>6} {'p99':>6} {'max':>6}  seconds")
    for kind, each in [*sorted(taken.items()), *([("all kills", killed)] if killed else [])]:
        each = sorted(each)
        p99 = each[max(0, -(-99 * len(each) // 100) - 1)]
        print(f"{kind:12} {len(each):4} {statistics.median(each):6.1f} {p99:6.1f} {each[-1]:6.1f}")


def problems(load: Load) -> list[str]:
    """Return what was lost, doubled or left behind."""
    db.session.rollback()
    images = list(db.session.scalars(select(Image)))
    keys = {"uploads": {image.original_key for image in images}}
    keys["uploads"] |= set(db.session.scalars(select(Upload.key).where(Upload.confirmed_at.is_(None))))
    keys["cdn"] = {key for image in images for key in (image.large_key, image.thumb_key)}
    keys["cdn"] |= set(db.session.scalars(select(Rendition.key)))
    items = list(db.session.scalars(select(ImportItem)))
    there = {image.uuid for image in images}
    print(
        f"\n{len(images)} photos, {len(load.accepted)} imports; orphans collected: {len(collect_orphans())}", end="; "
    )
    print(f"answers that clients repeated: {dict(load.errors)}")
    settings = config.settings()
    buckets = {settings.s3_uploads_bucket: keys["uploads"], settings.s3_cdn_bucket: keys["cdn"]}
    wanted = {(bucket, key) for bucket, names in buckets.items() for key in names}
    stored = Buckets().listing()
    checks = {
        "confirmed photos are lost": set(load.confirmed) - there,
        "photos are doubled": len(images) - len({image.sha256 for image in images}),
        "photos that nobody sent": len(images) - len(load.confirmed) - sum(item.state == READY for item in items),
        "URLs were not imported": sum(item.state != READY for item in items),
        "photos are not ready": sum(image.variants != READY for image in images),
        "objects are missing": wanted - stored,
        "objects are left behind": stored - wanted,
    }
    return [f"{what}: {found}" for what, found in checks.items() if found]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="kills")
    parser.add_argument("kills", nargs="?", type=int, default=100)
    parser.add_argument("--flush", action="store_true")
    parser.add_argument("--only", help="one kind of process, as in the report")
    asked = parser.parse_args(arguments)
    directory = scratch("kills-")
    pictures: dict[str, bytes] = {}

    def answer(seen: Seen) -> Reply:
        number = int("".join(filter(str.isdigit, seen.path)))
        return Reply(body=pictures.setdefault(seen.path, picture(number)), after_s=0.2)

    env = {"ALLOWED_PRIVATE_NETS": "127.0.0.0/8", "PIXEL_WORKERS": "2"}
    try:
        with outside(answer) as host, installation(directory, **env) as portal:
            os.environ |= {"DATA_DIR": str(directory), "PORT": str(portal.port), "PUBLIC_URL": portal.url}
            app = create_app(config.from_environment())
            (line,) = (line for line in portal.said if "API key" in line)
            load = Load(app, portal, host, line.split()[-1])
            with app.app_context():
                with work():
                    db.session.execute(update(Workspace).values(plan_name="pro"))
                until(lambda: not any("add-demo-photos" in args for args in descendants(portal.process.pid).values()))
                load.confirmed += db.session.scalars(select(Image.uuid))
                threads = load.start()
                try:
                    report(measure(load, asked.kills, flushes=asked.flush, only=asked.only))
                finally:
                    load.over.set()
                for thread in threads:
                    thread.join(GIVE_UP_S)
                until(lambda: are_complete(load.confirmed, load.accepted), GIVE_UP_S)
                wrong = problems(load)
                print("\n".join(wrong) or "Nothing is lost, doubled or left behind.")
                return bool(wrong)
    except BaseException:
        print("\n".join(line[:200] for line in portal.said[-60:]))
        raise
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
