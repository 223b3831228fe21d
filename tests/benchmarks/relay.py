"""A relay in front of an S3 that can answer in its place: python -m tests.benchmarks.relay PORT PORT_OF_THE_S3

Each line on standard input is the status for all requests from then on, or 0 to pass them on. It ends the open
connections."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

CHUNK_BYTES = 256 * 1024


class Relay:
    def __init__(self, there: int) -> None:
        self.there, self.status = there, 0
        self.writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await (self._refuse(reader, writer) if self.status else self._pass_on(reader, writer))
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"expect: 100-continue" not in head:
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length or 0))
        writer.write(f"HTTP/1.1 {self.status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self.there)
        self.writers.add(back_writer)
        try:
            await asyncio.gather(_pipe(reader, back_writer), _pipe(back_reader, writer))
        finally:
            self.writers.discard(back_writer)
            back_writer.close()

    def switch(self) -> None:
        line = sys.stdin.readline()
        if not line:
            sys.exit()
        self.status = int(line)
        for writer in self.writers:
            writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()  # either side's end is both sides'


async def main(port: int, there: int) -> None:
    relay = Relay(there)
    asyncio.get_running_loop().add_reader(sys.stdin, relay.switch)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
