"""Uploaded files of a form, on disk: complete or refused, without a name, and gone with the form."""

from __future__ import annotations

import os
import resource
import signal
from io import BytesIO

import pytest
from flask import Flask, Request
from werkzeug.test import EnvironBuilder

from portal import config
from portal.errors import StorageFailed
from portal.infra import multipart

SIZE = 300_000


def request_of(*files: bytes) -> Request:
    sent = {"images": [(BytesIO(data), f"{n}.jpg") for n, data in enumerate(files)]}
    return Request(EnvironBuilder(method="PUT", data=sent).get_environ())


def test_files_are_read_as_sent_and_have_no_name_on_disk(app: Flask) -> None:
    folder = config.settings().data_dir / "spool"
    photos = [os.urandom(SIZE), b"", os.urandom(7)]
    with multipart.spooled(request_of(*photos), max_files=3, max_file_bytes=SIZE) as form:
        assert [file.read() for file in form.files] == photos
        assert form.files[0].read() == photos[0], "it can be read repeatedly"
        assert os.listdir(folder) == []
    with pytest.raises(ValueError, match="closed"):
        form.files[0].read()


def test_an_empty_file_input_does_not_count_as_a_photo(app: Flask) -> None:
    sent = [(BytesIO(b""), ""), *((BytesIO(bytes([n]) * 9), f"{n}.jpg") for n in range(3))]
    request = Request(EnvironBuilder(method="PUT", data={"images": sent}).get_environ())
    with multipart.spooled(request, max_files=3, max_file_bytes=SIZE) as form:
        assert [file.read() for file in form.files] == [bytes([n]) * 9 for n in range(3)]


@pytest.mark.parametrize("room", [0, 1, 64 * 1024 - 1, SIZE - 1])
def test_a_full_disk_refuses_the_form(app: Flask, room: int) -> None:
    """The child may write `room` bytes: the last write is short, the next one is refused."""
    child = os.fork()
    if not child:
        signal.alarm(30)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        try:
            with multipart.spooled(request_of(os.urandom(SIZE)), max_files=1, max_file_bytes=SIZE):
                os._exit(1)
        except StorageFailed:
            os._exit(0)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
