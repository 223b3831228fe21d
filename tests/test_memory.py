"""A process keeps little of the memory that a burst of large buffers has used."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tests.processes import ROOT, WITHIN_S

BUFFER_MB, THREADS, LEFT_MB = 8, 8, 20
BURST = f"""
import os, re, sys, threading
from portal.infra.processes import return_freed_memory

def resident_mb():
    return int(re.findall(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[0]) / 1000

def burst():
    for _ in range(3):
        buffer = b"x" * ({BUFFER_MB} * 1024 * 1024)
        del buffer
    has_ended.wait()
    waits.wait()

if sys.argv[1] == "returns":
    return_freed_memory()
has_ended, waits = threading.Barrier({THREADS} + 1), threading.Event()
before_mb = resident_mb()
for _ in range({THREADS}):
    threading.Thread(target=burst, daemon=True).start()
has_ended.wait()
print(resident_mb() - before_mb)
"""
is_glibc = platform.libc_ver()[0] == "glibc"


def left_mb(argument: str) -> float:
    """The memory that the threads' buffers leave behind in a process, while the threads live."""
    command = [sys.executable, "-c", BURST, argument]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=WITHIN_S)
    return float(done.stdout)


@pytest.mark.skipif(not is_glibc, reason="only glibc keeps so much")
def test_a_burst_of_large_buffers_leaves_little_behind() -> None:
    assert left_mb("returns") < LEFT_MB
    assert left_mb("keeps") > LEFT_MB, "otherwise the first line shows nothing"
