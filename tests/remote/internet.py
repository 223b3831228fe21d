"""A private internet: a network namespace in which every address of the world is this machine.

Runs as a script in `unshare --map-root-user --net --mount` (see conftest.py): a DNS server with given answers, web
servers at ports 80 and 443 of every address, and a packet capture. Each line of its input is a question (what to
fetch, and the DNS answers), each line of its output the result; the connections are read from the wire, not from the
code under test."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

from flask import Flask

from portal import config, remote
from portal.errors import Problem

ROUTES = """
set -e
ip link set lo up
ip route add local 0.0.0.0/0 dev lo
ip -6 route add local ::/0 dev lo
"""
NAME_SERVER = """
set -e
printf 'nameserver 127.0.0.1\\noptions timeout:5 attempts:1\\n' > "$1/resolv.conf"
printf 'hosts: dns\\n' > "$1/nsswitch.conf"
for file in resolv.conf nsswitch.conf; do mount --bind "$1/$file" /etc/$file; done
"""
A, CNAME, AAAA = 1, 5, 28  # RFC 1035, RFC 3596


class Wire:
    """All packets, captured at the interface."""

    def __init__(self) -> None:
        self._tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # ETH_P_ALL
        self._tap.bind(("lo", 0))
        self._tap.setblocking(False)

    def dialled(self) -> list[tuple[str, int]]:
        """The addresses and ports to which a connection was opened since the last call."""
        found = []
        while True:
            try:
                packet, (_, _, kind, *_) = self._tap.recvfrom(200)
            except BlockingIOError:
                _, missed = struct.unpack("II", self._tap.getsockopt(263, 6, 8))  # PACKET_STATISTICS
                assert not missed, "the capture lost packets"
                return found
            if kind == socket.PACKET_OUTGOING and (target := _opening(packet)):
                found.append(target)


def _opening(packet: bytes) -> tuple[str, int] | None:
    if packet[0] >> 4 == 4:
        protocol, target, segment = packet[9], packet[16:20], packet[(packet[0] & 15) * 4 :]
    else:
        protocol, target, segment = packet[6], packet[24:40], packet[40:]
    if protocol != socket.IPPROTO_TCP or segment[13] & 0b010010 != 0b000010:  # SYN without ACK
        return None
    return str(ipaddress.ip_address(target)), struct.unpack("!H", segment[2:4])[0]


class Names:
    """A DNS server. `answers[name]` lists the answers to successive look-ups; the last one repeats."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str] | str]] = {}
        self.asked: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(1500)
            if answer := self._answer(query):
                self._socket.sendto(answer, client)

    def _answer(self, query: bytes) -> bytes | None:
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode("latin-1"))
            at += 1 + length
        name, question = ".".join(labels).lower(), query[12 : at + 5]
        kind = {A: "A", AAAA: "AAAA"}.get(struct.unpack("!H", query[at + 1 : at + 3])[0], "other")
        number = self.asked.count((name, kind))
        self.asked.append((name, kind))
        answers = self.answers.get(name, self.answers.get("*", ["NXDOMAIN"]))
        records = answers[min(number, len(answers) - 1)]
        if records == "silence":
            return None
        if isinstance(records, str):
            return (
                query[:2] + struct.pack("!HHHHH", 0x8180 | (2 if records == "SERVFAIL" else 3), 1, 0, 0, 0) + question
            )
        found = [_record(text) for text in records if _kind(text) in (kind, "CNAME")]
        return query[:2] + struct.pack("!HHHHH", 0x8180, 1, len(found), 0, 0) + question + b"".join(found)


def _kind(text: str) -> str:
    """`10.0.0.1` is an A record, `fd00::1` an AAAA; `via 10.0.0.1` is the address of a CNAME's target."""
    return "AAAA" if ":" in text else "A"


def _record(text: str) -> bytes:
    owner, alias = b"\xc0\x0c", b""
    if text.startswith("via "):
        owner, text = b"\x05alias\x07example\x00", text[4:]
        alias = b"\xc0\x0c" + struct.pack("!HHIH", CNAME, 1, 0, len(owner)) + owner
    packed = ipaddress.ip_address(text).packed
    return alias + owner + struct.pack("!HHIH", A if len(packed) == 4 else AAAA, 1, 0, len(packed)) + packed


class Site(BaseHTTPRequestHandler):
    """Redirects at /to/STATUS/LOCATION; sets a cookie everywhere else."""

    requests: ClassVar[list[dict[str, Any]]] = []

    def do_GET(self) -> None:
        server_name = getattr(self.connection, "server_name_asked", None)
        self.requests.append({"path": self.path, "headers": self.headers.items(), "sni": server_name})
        _, kind, *rest = self.path.split("/", 3)
        body = b"served"
        self.send_response_only(int(rest[0]) if kind == "to" else 200)
        if kind == "to":
            self.send_header("Location", unquote(rest[1]))
        self.send_header("Set-Cookie", "sweet=1; Path=/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args: object) -> None:
        pass


class Web(ThreadingHTTPServer):
    """Port 80 or, with certificates, 443 of every address of a family."""

    daemon_threads = True

    def __init__(self, host: str, certificates: Path | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 443 if certificates else 80), Site, bind_and_activate=False)
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.server_bind()
        self.server_activate()
        if certificates:
            context = self._context(certificates)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def _context(self, certificates: Path) -> ssl.SSLContext:
        """A client that names a host gets the certificate from that file, otherwise the first one."""
        contexts = {}
        for file in sorted(certificates.glob("*.example.pem")):
            contexts[file.stem] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            contexts[file.stem].load_cert_chain(file)

        def choose(sock: Any, name: str | None, _: ssl.SSLContext) -> None:
            sock.server_name_asked = name
            sock.context = contexts.get(name or "", first)

        first = next(iter(contexts.values()))
        first.sni_callback = choose
        return first

    def handle_error(self, *args: object) -> None:
        pass  # a handshake that the client aborted


def answer(question: dict[str, Any], names: Names, wire: Wire) -> dict[str, Any]:
    with Flask("internet").app_context():
        nets = question.get("allowed", [])
        config.use(config.Settings(allowed_private_nets=tuple(ipaddress.ip_network(net) for net in nets)))
        return _answer(question, names, wire)


def _answer(question: dict[str, Any], names: Names, wire: Wire) -> dict[str, Any]:
    names.answers, names.asked, Site.requests = question.get("names", {}), [], []
    wire.dialled()
    code, data, status = "ok", b"", None
    try:
        if "body" in question:
            said = remote.post(question["url"], question["body"].encode(), {}, deadline_s=5)
            data, status = said.body, said.status
        else:
            fetched = remote.fetch(question["url"], max_bytes=1000, deadline_s=question.get("deadline_s", 5))
            data, status = fetched.data, fetched.status
    except Problem as problem:
        code = problem.code
    except Exception as error:
        code = f"crash: {error!r}"
    return {
        "code": code,
        "data": data.decode(),
        "status": status,
        "dialled": wire.dialled(),
        "asked": names.asked,
        "requests": Site.requests,
    }


def main(certificates: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["sh", "-c", ROUTES + NAME_SERVER, "sh", folder], check=True, timeout=30)
    names, wire = Names(), Wire()
    for host in ("0.0.0.0", "::"):
        Web(host, None)
        Web(host, certificates)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), names, wire)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
