"""Gunicorn's ASGI worker, with the time-outs and limits that it lacks.

It overrides methods that gunicorn doesn't document, so gunicorn is pinned to the major version that was tested.
"""

import asyncio
import os
import resource
import sys
from contextlib import suppress
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

HEADERS_S = 15.0  # within which a new connection must have sent the headers of a request
STALL_S = 30.0  # within which a client must read some of what waits for it, or answer the end of its connection
MAX_CONNECTIONS = 2000  # of each process
ACCEPTED_AT_ONCE = 16
MAX_FILES = 8192  # file descriptors of each process, if the system allows as many
HEARTBEAT_S = 1.0
SWITCH_INTERVAL_S = 0.0005  # with Python's 5 ms, busy threads delay the event loop several times as long


class Connection(ASGIProtocol):  # type: ignore[misc]
    """A client's connection. It is idle while it waits for a request, or for the client to close."""

    _closed: bool
    _headers_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._headers_timer = self.worker.loop.call_later(HEADERS_S, self._keepalive_timeout)
        self.worker.idle[self] = None
        self.worker.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._become_busy()
        if self._stall_timer:
            self._stall_timer.cancel()
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
        self._abort_after_stall()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer and not self._closed:
            self._stall_timer.cancel()

    def _on_headers_complete(self) -> Any:
        self._become_busy()
        return super()._on_headers_complete()

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
        self.worker.idle[self] = None
        with suppress(OSError, RuntimeError):
            self.transport.write_eof()
        self.transport.resume_reading()
        self._abort_after_stall()

    def _become_busy(self) -> None:
        self.worker.idle.pop(self, None)
        if self._headers_timer:
            self._headers_timer.cancel()

    def _abort_after_stall(self) -> None:
        if self._stall_timer:
            self._stall_timer.cancel()
        self._stall_timer = self.worker.loop.call_later(STALL_S, self.transport.abort)


class Worker(ASGIWorker):  # type: ignore[misc]
    """Serves until SIGTERM or SIGINT, then finishes the requests that have begun, for at most `graceful_timeout`."""

    def init_process(self) -> None:
        self.idle: dict[Connection, None] = {}
        self._stopping = asyncio.Event()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        super().init_process()

    def make_room(self) -> None:
        """Above MAX_CONNECTIONS, close the one that has been idle for longest."""
        if self.nr_conns > MAX_CONNECTIONS:
            next(iter(self.idle)).transport.abort()

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
