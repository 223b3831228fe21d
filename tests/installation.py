"""A whole installation: `python app.py` with a fresh data folder, its output, and a bad start for any command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from portal.infra.processes import tied_to_us
from tests.processes import ROOT, WITHIN_S, until
from tests.servers import free_port

SECONDS_TO_START = 60  # 4 on an idle machine
NAMED_ELSEWHERE = ("REDIS_URL", "S3_ENDPOINT_URL", "DATABASE_URL")
DEAF = (
    "-c",
    "import os, signal, sys;"
    "[signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGCHLD)];"
    "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM]);"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])",
)
"""Before a Python program and its arguments: it inherits a SIGINT that is ignored, as behind a shell's `&`, a SIGCHLD
too, and whatever it waits for blocked."""


class Installation:
    """The command as people start it."""

    def __init__(self, directory: Path, *, before: tuple[str, ...] = (), **env: str) -> None:
        self.port = free_port()
        self.directory = directory
        self.url = f"http://127.0.0.1:{self.port}"
        self.said: list[str] = []
        few = {"PIXEL_WORKERS": "1", "NETWORK_WORKERS": "1"}
        ours = {"DATA_DIR": str(directory), "PORT": str(self.port), "PUBLIC_URL": self.url}
        self.process = subprocess.Popen(
            tied_to_us([sys.executable, *before, "app.py"]),
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name not in NAMED_ELSEWHERE} | few | ours | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait(self) -> None:
        """Return once it reports that it is ready."""
        until(lambda: self.has_said("Frontage is ready") or self.process.poll() is not None, SECONDS_TO_START)
        assert self.process.poll() is None, self.said

    def has_said(self, words: str) -> bool:
        return any(words in line for line in self.said)

    def state(self) -> tuple[int, dict[str, str]]:
        """What /readyz reports: its status, and that of each part."""
        response = requests.get(f"{self.url}/readyz", timeout=10)
        return response.status_code, response.json()["parts"]

    def is_ready(self) -> bool:
        try:
            return self.state()[0] == 200
        except (requests.RequestException, ValueError):
            return False

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()  # its children die with it
        self.process.wait(WITHIN_S)
        self._listener.join(WITHIN_S)

    def _listen(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.said.append(line.rstrip())


@contextmanager
def installation(directory: Path, *, before: tuple[str, ...] = (), **env: str) -> Iterator[Installation]:
    """Run one until the block ends; `before` precedes its command, `env` adds settings."""
    made = Installation(directory, before=before, **env)
    try:
        made.wait()
        yield made
    finally:
        made.close()
