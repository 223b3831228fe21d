"""Gunicorn's ASGI worker, with the time-outs and limits that it lacks.

It overrides methods that gunicorn doesn't document, so gunicorn is pinned to the major version that was tested.
"""

import asyncio
import fcntl
import os
import resource
import sys
import termios
from array import array
from contextlib import suppress
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

HEADERS_S = 15.0  # within which a new connection must have sent the headers of a request
READ_S = 30.0  # within which a client must read LEAST_READ_BYTES of what waits, or answer the end of its connection
LEAST_READ_BYTES = 32 * 1024
MAX_CONNECTIONS = 2000  # of each process; more than may wait for threads, so that some wait for their clients
FILES_BESIDE_CONNECTIONS = 256  # stored bodies, photos, the database, Redis, S3
ACCEPTED_AT_ONCE = 16
MAX_FILES = 8192  # file descriptors of each process, if the system allows as many
HEARTBEAT_S = 1.0
SWITCH_INTERVAL_S = 0.0005  # with Python's 5 ms, busy threads delay the event loop several times as long


class Connection(ASGIProtocol):  # type: ignore[misc]
    """A client's connection. It is idle while it waits for a request, or for the client to close.

    It is slow while it waits for the rest of a request, or for the client to read.
    """

    _closed: bool
    _headers_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._headers_timer = self.worker.loop.call_later(HEADERS_S, self._keepalive_timeout)
        if self.worker.make_room():
            self.worker.idle[self] = None
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_idleness()
        self.worker.slow.pop(self, None)
        if self._read_timer:
            self._read_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        try:
            super().data_received(data)
        except ValueError:  # the parser raises it for a Content-Length of more digits than int() takes
            self._send_error_response(400, "Bad Request")
            self._close_transport()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.worker.slow[self] = None
        self._expect_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.worker.slow.pop(self, None)
        if self._read_timer and not self._closed:
            self._read_timer.cancel()

    def _on_headers_complete(self) -> Any:
        self._end_idleness()
        self.worker.slow[self] = None
        return super()._on_headers_complete()

    def _on_message_complete(self) -> None:
        self.worker.slow.pop(self, None)
        super()._on_message_complete()

    def _arm_keepalive_timer(self) -> None:
        self.worker.idle[self] = None
        super()._arm_keepalive_timer()

    def _close_transport(self) -> None:
        """Send the end of the stream, and discard what arrives until the client closes too.

        Closing a socket with unread data resets the connection, and the client may lose the answer that says why.
        """
        if self._closed or self.transport is None:
            return
        if not self.worker.alive:
            super()._close_transport()
            return
        self._closed = True
        self.worker.slow.pop(self, None)
        self.worker.idle[self] = None
        with suppress(OSError, RuntimeError):
            self.transport.write_eof()
        self.transport.resume_reading()
        self._expect_reading()

    def _end_idleness(self) -> None:
        self.worker.idle.pop(self, None)
        if self._headers_timer:
            self._headers_timer.cancel()

    def _expect_reading(self) -> None:
        if self._read_timer:
            self._read_timer.cancel()
        self._read_timer = self.worker.loop.call_later(READ_S, self._abort_unless_read, self._unread_bytes())

    def _abort_unless_read(self, unread_bytes: int) -> None:
        if unread_bytes - self._unread_bytes() >= LEAST_READ_BYTES:
            self._expect_reading()
        else:
            self.transport.abort()

    def _unread_bytes(self) -> int:
        """Return what waits here and in the system's buffer, whose megabytes a slow client reads for a long time."""
        waiting = array("i", [0])
        with suppress(OSError, ValueError):  # it is closed, or the system can't tell
            fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, waiting)
        return int(self.transport.get_write_buffer_size()) + waiting[0]


class Worker(ASGIWorker):  # type: ignore[misc]
    """Serves until SIGTERM or SIGINT, then finishes the requests that have begun, for at most `graceful_timeout`."""

    def init_process(self) -> None:
        self.idle: dict[Connection, None] = {}  # for longest, first
        self.slow: dict[Connection, None] = {}
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._max_connections = MAX_CONNECTIONS
        if files != resource.RLIM_INFINITY:
            self._max_connections = max(1, min(MAX_CONNECTIONS, files - FILES_BESIDE_CONNECTIONS))
        self._stopping = asyncio.Event()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        super().init_process()

    def make_room(self) -> bool:
        """Make room for a new connection: end the one that has waited longest for its client.

        Return False if all others wait for threads.
        """
        if self.nr_conns <= self._max_connections:
            return True
        waiting = self.idle or self.slow
        if not waiting:
            return False
        longest = next(iter(waiting))
        del waiting[longest]
        longest.transport.abort()
        return True

    def handle_exit_signal(self) -> None:
        self.alive = False
        self._stopping.set()

    handle_quit_signal = handle_exit_signal  # gunicorn turns SIGINT into SIGQUIT, which would cut requests off

    async def _serve(self) -> None:
        servers = []
        for each in self.sockets:
            # Few connections at a time, so that the processes share a burst; asyncio's argument is the backlog as well.
            server = await self.loop.create_server(lambda: Connection(self), sock=each.sock, backlog=ACCEPTED_AT_ONCE)
            servers.append(server)
            each.sock.listen(self.cfg.backlog)
        while self.alive and self.ppid == os.getppid():
            self.notify()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), HEARTBEAT_S)
        for server in servers:
            server.close()
        await self._finish()

    async def _finish(self) -> None:
        deadline = self.loop.time() + self.cfg.graceful_timeout
        while self.nr_conns and self.loop.time() < deadline:
            for connection in list(self.idle):
                connection.transport.close()
            await asyncio.sleep(0.02)


def raise_file_limit() -> None:
    """Raise this process's soft limit of file descriptors toward MAX_FILES: a connection takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
