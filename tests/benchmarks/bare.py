"""The least that a gunicorn worker does for a photo: a WSGI app that answers from memory, see `delivery`."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def app() -> Callable[..., Iterable[bytes]]:
    """Answer each path with the headers and bytes that are pickled in the file ANSWERS."""
    answers: dict[str, tuple[list[tuple[str, str]], bytes]] = pickle.loads(Path(os.environ["ANSWERS"]).read_bytes())

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers, data = answers[environ["PATH_INFO"]]
        start_response("200 OK", headers)
        return [data]

    return answer
