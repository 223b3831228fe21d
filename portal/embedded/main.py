"""`python app.py`: runs the whole product on one machine."""

import errno
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

import flask_migrate
from flask import Flask

from portal import config, installation
from portal.config import Settings
from portal.db import db
from portal.demo import first_run
from portal.demo.first_run import FirstRun
from portal.embedded.process import CannotStart, Part
from portal.embedded.servers import http_answers, seaweedfs, try_bind, valkey, write_privately
from portal.embedded.supervisor import Supervisor
from portal.errors import StorageFailed
from portal.infra import disk_space, jobs, storage
from portal.infra.processes import on_stop
from portal.startup import StartupRefused, demand_usable

ROOT = Path(__file__).resolve().parents[2]
DEBOUNCE_S = 1.0
FULL = "The disk of DATA_DIR is full. Free some space, then start again."
STOP_TIMEOUT_S = 10  # a photo takes one second; the sweep restarts what was interrupted


def main(create_app: Callable[[Settings], Flask]) -> NoReturn:
    """Run until SIGINT or SIGTERM. Exits with 2 if it refuses to start, with 1 if a part can't start."""
    os.umask(0o077)  # data files are private to this user
    interrupt = _interrupt_handler()
    on_stop(interrupt)
    signal.signal(signal.SIGALRM, interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, interrupt)
    supervisor = Supervisor()
    began = time.monotonic()
    try:
        settings = config.from_environment()
        with _lock(settings.data_dir):
            _demand_port(settings)
            try:
                _run(supervisor, settings, create_app, began)
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
                print("\nStopping …", flush=True)
            finally:
                _stop(supervisor)
    except (config.WrongSetting, StartupRefused) as wrong:
        _exit(2, str(wrong))
    except CannotStart as failed:
        _exit(1, f"{failed} {FULL}" if disk_space.is_full(settings) else str(failed))
    except OSError as failed:
        if failed.errno not in disk_space.FULL_ERRORS:
            raise
        _exit(1, FULL)
    except KeyboardInterrupt:  # the second Ctrl+C: the kernel ends the children
        os._exit(130)
    sys.exit(0)


def _interrupt_handler() -> Callable[..., None]:
    """Return a handler that raises KeyboardInterrupt. A repeated signal, as some wrappers send it, counts once.

    Python drops exceptions in destructors and weakref callbacks, so an alarm raises it again until it is handled.
    """
    last = -DEBOUNCE_S

    def interrupt(number: int, _: Any) -> None:
        nonlocal last
        if number != signal.SIGALRM:
            before, last = last, time.monotonic()
            if last - before < DEBOUNCE_S:
                return
        signal.setitimer(signal.ITIMER_REAL, DEBOUNCE_S)
        raise KeyboardInterrupt

    return interrupt


def _run(supervisor: Supervisor, settings: Settings, create_app: Callable[[Settings], Flask], began: float) -> None:
    _bypass_proxies()
    servers = _embedded_servers(settings.data_dir)
    supervisor.start(*servers)
    _write_addresses(settings.data_dir, servers)
    settings = config.from_environment()
    first = _prepare(create_app(settings), settings)
    supervisor.start(_workers(settings), _web(settings))
    _welcome(settings, first, time.monotonic() - began)
    if first:
        supervisor.start(_part("demo", settings, "flask", "--app", "app", "add-demo-photos", runs_once=True))
    supervisor.watch()


def _embedded_servers(data_dir: Path, env: Mapping[str, str] = os.environ) -> list[Part]:
    """Return the servers for which the environment names no address."""
    parts = []
    if not env.get("REDIS_URL"):
        parts.append(valkey(data_dir / "valkey"))
    if not env.get("S3_ENDPOINT_URL"):
        parts.append(seaweedfs(data_dir / "s3"))
    return parts


def _bypass_proxies() -> None:
    """Exclude our own servers from any HTTP proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost"]))


def _write_addresses(data_dir: Path, servers: list[Part]) -> None:
    """Write the servers' addresses to the file that config.from_environment reads in children and commands."""
    addresses = {name: value for part in servers for name, value in part.settings.items()}
    write_privately(config.embedded_file(data_dir), json.dumps(addresses))


def _prepare(app: Flask, settings: Settings) -> FirstRun | None:
    """Migrate the database, prepare the buckets and, on the first run, create and return the demo data."""
    with app.app_context():
        flask_migrate.upgrade()
        demand_usable()
        try:
            storage.uploads.prepare(settings.page_origins)
            storage.cdn.prepare()
        except StorageFailed as failed:
            if not (storage.uploads.answers() and storage.cdn.answers()):
                raise CannotStart(f"The buckets can't be used ({failed.details}).") from failed
            print(f"The CORS rules of the buckets could not be set ({failed.details}). Set them yourself.", flush=True)
        installation.check()
        first = first_run.prepare()
        db.session.remove()
        db.engine.dispose()
    return first


def _web(settings: Settings) -> Part:
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 (compared only)
    url = f"http://{host}:{settings.port}"

    def is_ready() -> bool:
        return http_answers(f"{url}/readyz") or (disk_space.is_full(settings) and http_answers(f"{url}/healthz"))

    return _part(
        "web",
        settings,
        "gunicorn",
        "--config",
        "python:portal.server",
        is_ready=is_ready,
    )


def _workers(settings: Settings) -> Part:
    """Return the worker pool: rendering processes per core, processes that wait for the network, and the scheduler."""
    queues = [jobs.PIXELS] * settings.pixel_workers + [jobs.NETWORK] * settings.network_workers
    # Two each: one takes over while the other, out of time, waits for hanging calls.
    queues += [jobs.WEBHOOKS, jobs.SYNC, jobs.CDN] * 2 + [jobs.SCHEDULE]
    # measured: huge pages save 7 % of the CPU time per photo
    pages = {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")}
    return _part("workers", settings, "workers.pool", *queues, env=pages)


def _part(name: str, settings: Settings, *arguments: str, env: dict[str, str] | None = None, **more: Any) -> Part:
    """Return a Python module to run with the same data directory."""
    env = {"DATA_DIR": str(settings.data_dir), "PYTHONUNBUFFERED": "1", **(env or {})}
    return Part(name, [sys.executable, "-m", *arguments], env=env, directory=ROOT, **more)


def _stop(supervisor: Supervisor) -> None:
    """Stop the processes that use the servers, then the servers."""
    supervisor.stop(("web", "demo", "workers"), STOP_TIMEOUT_S)
    supervisor.stop(("",), STOP_TIMEOUT_S / 2)


def _lock(data_dir: Path) -> IO[str]:
    """Lock the data directory until the file is closed. Raises StartupRefused if another process holds it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    file = open(data_dir / "lock", "w")  # noqa: SIM115 (the caller's `with`)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise StartupRefused(
            f"Frontage is already running with the data in {data_dir}. Stop it, or set DATA_DIR."
        ) from None
    return file


def _demand_port(settings: Settings) -> None:
    try:
        try_bind(settings.port, settings.host)
    except OSError as error:
        address = f"port {settings.port} of {settings.host}"
        if error.errno == errno.EADDRINUSE:
            raise StartupRefused(
                f"Another program is listening on {address}. Set PORT, for example PORT=8080."
            ) from None
        raise StartupRefused(f"Frontage can't listen on {address}: {error.strerror}. Set HOST and PORT.") from None


def _welcome(settings: Settings, first: FirstRun | None, took_s: float) -> None:
    """Print what people need to know: the address, and on the first run how to sign in."""
    lines = [("Frontage is ready", f"{settings.public_url}   ({took_s:.1f} s)")]
    if first:
        lines += [("Sign in (link works once)", first.sign_in_url), ("API key (shown once)", first.api_key)]
    if disk_space.is_full(settings):
        lines += [("The disk is full", "Photos are shown, but no new ones are taken until there is space.")]
    lines += [("Your data", str(settings.data_dir)), ("Stop", "Ctrl+C")]
    print("\n" + "\n".join(f"    {name:<27}{value}" for name, value in lines) + "\n", flush=True)


def _exit(status: int, sentence: str) -> NoReturn:
    print(sentence, file=sys.stderr)
    sys.exit(status)
