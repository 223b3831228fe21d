"""Requests at a fixed rate, whatever the answers do: those that hang delay no other request, and are counted as such.

A request's time runs from the moment when it was due, so a generator that lags makes the figures worse, not better; it
reports its lag too."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

GIVES_UP_AFTER_S = 60
GAVE_UP = 0  # in place of a status: no answer, or a connection that was refused or cut off


@dataclass(frozen=True)
class Request:
    """A request; `tag` is the caller's."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    tag: Any = None

    def encode(self) -> bytes:
        given = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(self.body)), **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return f"{self.method} {self.path} HTTP/1.1\r\n{head}\r\n".encode() + self.body


@dataclass(frozen=True)
class Answered:
    """What a request of some kind got, and the seconds since it was due."""

    kind: str
    request: Request
    status: int
    body: bytes
    seconds: float
    lag_s: float


Makers = Mapping[str, Callable[[], Request]]


async def run(port: int, per_second: Mapping[str, int], makers: Makers, seconds: float) -> list[Answered]:
    """Send so many requests of each kind a second, evenly mixed; return when all are answered."""
    second = [kind for kind, count in per_second.items() for _ in range(count)]
    random.Random(1).shuffle(second)
    began, tasks = time.perf_counter() + 0.1, []
    for n in range(int(seconds * len(second))):
        due = began + n / len(second)
        await asyncio.sleep(max(0, due - time.perf_counter()))
        kind = second[n % len(second)]
        tasks.append(asyncio.create_task(_ask(port, kind, makers[kind](), due)))
    return await asyncio.gather(*tasks)


async def _ask(port: int, kind: str, request: Request, due: float) -> Answered:
    lag_s = time.perf_counter() - due
    try:
        async with asyncio.timeout(GIVES_UP_AFTER_S):
            status, body = await _exchange(port, request.encode())
    except (OSError, TimeoutError):
        status, body = GAVE_UP, b""
    return Answered(kind, request, status, body, time.perf_counter() - due, lag_s)


async def _exchange(port: int, data: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        answer = await reader.read(-1)
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head[9:12] or GAVE_UP), body


def row(name: str, answers: Iterable[Answered]) -> str:
    """A line of a table: how many, median, 99th percentile, maximum in seconds, and the statuses."""
    listed = list(answers)
    times = sorted(answer.seconds for answer in listed)
    if len(times) < 2:
        return f"{name:24}{len(times):6}"
    p99 = statistics.quantiles(times, n=100, method="inclusive")[98]
    statuses = Counter(answer.status for answer in listed)
    said = ", ".join(f"{status or 'none'}: {count}" for status, count in sorted(statuses.items()))
    return f"{name:24}{len(times):6}{statistics.median(times):9.3f}{p99:9.3f}{times[-1]:9.3f}   {said}"


HEADING = f"{'seconds':24}{'n':>6}{'p50':>9}{'p99':>9}{'max':>9}   statuses"


def lag(answers: list[Answered]) -> str:
    lags = sorted(answer.lag_s * 1000 for answer in answers)
    return f"the generator lags {lags[int(len(lags) * 0.99)]:.0f} ms (p99), {lags[-1]:.0f} ms (max)"
