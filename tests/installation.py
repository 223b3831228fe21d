"""A whole installation: `python app.py` with data of its own, and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.processes import ROOT, kill, until
from tests.servers import free_port

SECONDS_TO_START = 60  # 4 on an idle machine
NAMED_ELSEWHERE = ("REDIS_URL", "S3_ENDPOINT_URL", "DATABASE_URL")


class Installation:
    """The command as people start it: not tied to us, so that tests see what it leaves behind."""

    def __init__(self, directory: Path, **env: str) -> None:
        self.port = free_port()
        self.directory = directory
        self.url = f"http://127.0.0.1:{self.port}"
        self.said: list[str] = []
        few = {"PIXEL_WORKERS": "1", "NETWORK_WORKERS": "1"}
        ours = {"DATA_DIR": str(directory), "PORT": str(self.port), "PUBLIC_URL": self.url}
        self.process = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name not in NAMED_ELSEWHERE} | few | ours | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def wait(self) -> None:
        """Return once it says that it is ready."""
        until(lambda: self.has_said("Frontage is ready") or self.process.poll() is not None, SECONDS_TO_START)
        assert self.process.poll() is None, self.said

    def has_said(self, words: str) -> bool:
        return any(words in line for line in self.said)

    def state(self) -> tuple[int, dict[str, str]]:
        """What /readyz says: its status, and how each part is."""
        response = requests.get(f"{self.url}/readyz", timeout=10)
        return response.status_code, response.json()["parts"]

    def is_ready(self) -> bool:
        try:
            return self.state()[0] == 200
        except (requests.RequestException, ValueError):
            return False

    def close(self) -> None:
        kill(self.process)  # its children die with it
        self._listener.join()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said.append(line.rstrip())


@contextmanager
def installation(directory: Path, **env: str) -> Iterator[Installation]:
    """Run one until the block ends; `env` are settings of its own."""
    made = Installation(directory, **env)
    try:
        made.wait()
        yield made
    finally:
        made.close()
