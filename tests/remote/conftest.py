"""Misbehaving servers at 127.0.0.1, and a private internet."""

from __future__ import annotations

import datetime
import ipaddress
import json
import queue
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import pytest
import trustme
from flask import Flask

from portal import config
from tests.processes import WITHIN_S
from tests.remote.internet import ROUTES

NAMESPACE = ["unshare", "--map-root-user", "--net", "--mount", "--fork", "--kill-child"]
Script = Callable[[socket.socket, bytes], None]


@contextmanager
def settings(**those: Any) -> Iterator[None]:
    """An app with these settings, and nothing else."""
    with Flask("remote").app_context():
        config.use(config.Settings(**those))
        yield


@pytest.fixture
def loopback_allowed() -> Iterator[None]:
    """As for an operator whose PMS runs on the same machine."""
    with settings(allowed_private_nets=(ipaddress.ip_network("127.0.0.0/8"),)):
        yield


@pytest.fixture
def nothing_allowed() -> Iterator[None]:
    """The default."""
    with settings():
        yield


class Server:
    """Accepts, reads the request, and leaves the rest to a script; one thread per connection.

    Encrypted with `tls`. `is_rude`: it doesn't wait for the request."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None, is_rude: bool) -> None:
        self._script, self._tls, self._is_rude = script, tls, is_rude
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if tls or is_rude else 'http'}://127.0.0.1:{self.port}/"
        self.heads: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with suppress(OSError), self._tls.wrap_socket(client, server_side=True) if self._tls else client as sock:
            if not self._is_rude:
                self.heads.append(_request(sock))
            self._script(sock, self.heads[-1] if self.heads else b"")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def serve(loopback_allowed: None) -> Iterator[Serve]:
    """Start a server that sends these bytes, or does what the script says."""
    servers: list[Server] = []

    def start(script: Script | bytes, *, tls: ssl.SSLContext | None = None, is_rude: bool = False) -> Server:
        run = script if callable(script) else lambda client, _: client.sendall(script)
        servers.append(Server(run, tls=tls, is_rude=is_rude))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def _request(sock: socket.socket) -> bytes:
    """Read a whole request: closing with unread data would discard the response."""
    request = b""
    while b"\r\n\r\n" not in request and (piece := sock.recv(65536)):
        request += piece
    head, _, body = request.partition(b"\r\n\r\n")
    length = int((re.findall(rb"(?i)content-length: (\d+)", head) or [0])[0])
    while len(body) < length and (piece := sock.recv(65536)):
        body += piece
    return head + b"\r\n\r\n" + body


class Serve(Protocol):
    def __call__(
        self, script: Script | bytes, *, tls: ssl.SSLContext | None = None, is_rude: bool = False
    ) -> Server: ...


class Internet:
    """See internet.py. Runs one fetch at a time."""

    def __init__(self, certificates: Path) -> None:
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [*NAMESPACE, sys.executable, "-m", "tests.remote.internet", str(certificates)],
            cwd=Path(__file__).parents[2],
            env={"SSL_CERT_FILE": str(certificates / "authority.pem"), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait(self) -> None:
        """Return once it is ready."""
        assert self._next_line() == "ready\n"

    def fetch(self, url: str, **question: Any) -> dict[str, Any]:
        assert self._process.stdin
        print(json.dumps({"url": url, **question}), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._next_line())
        answer["dialled"] = [tuple(target) for target in answer["dialled"]]
        return answer

    def close(self) -> None:
        self._process.kill()  # and, by --kill-child, what runs inside
        self._process.wait(timeout=WITHIN_S)
        self._listener.join(timeout=WITHIN_S)
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._said.put(line)
        self._said.put("")

    def _next_line(self) -> str:
        return self._said.get(timeout=WITHIN_S)


@pytest.fixture(scope="session")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    """A namespace in which every address of the world is ours, with canaries everywhere."""
    if not all(map(shutil.which, ("unshare", "ip", "mount"))):
        pytest.skip("needs unshare, mount (util-linux) and ip (iproute2)")
    tried = subprocess.run([*NAMESPACE, "sh", "-c", ROUTES], capture_output=True, text=True, timeout=WITHIN_S)
    if tried.returncode:
        pytest.skip(f"the kernel doesn't let a network namespace be made: {tried.stderr}")
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder)
    internet = Internet(folder)
    try:
        internet.wait()
        yield internet
    finally:
        internet.close()


def write_certificates(folder: Path) -> None:
    """A valid certificate for good.example, and one for each way to be invalid."""
    authority, stranger = trustme.CA(), trustme.CA()
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    made = {
        "good": authority.issue_cert("good.example"),
        "wrong": authority.issue_cert("other.example"),
        "expired": authority.issue_cert("expired.example", not_after=past),
        "stranger": stranger.issue_cert("stranger.example"),
    }
    for name, certificate in made.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.example.pem"))
