"""The ASGI front: an event loop reads requests and sends responses, so that no thread waits for a client.

`worker` is gunicorn's worker with time-outs, `bodies` stores request bodies, `bulkheads` shares out the threads,
`budget` memory and disk, and `bridge` runs the WSGI app. An ASGI application is mounted in `application`.
"""

from portal.asgi.application import Application

__all__ = ["Application"]
