"""A server that creates a message for every request and looks at nothing, so that it hides nothing of the sender."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.sharedctypes import Synchronized
    from pathlib import Path

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_MESSAGE: Final = b'{"type": "admin_message", "id": "%d", "message_type": "inapp", "body": "x"}'
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END: Final = b"\r\n\r\n"


@contextmanager
def serve(latency: float, certificate: Path | None = None) -> Iterator[tuple[str, Callable[[], int]]]:
    """
    Serve ``POST /messages`` during a ``with`` block, from a process of its own.

    :param latency: Seconds until the reply to a request.
    :param certificate: The server's key and certificate for https; None (default) for http.
    :return: The server's URL, and a function that returns how many messages it has created.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    created: Synchronized[int] = context.Value("q", 0)
    process = context.Process(target=_run, args=(latency, certificate, sender, created))
    process.start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{receiver.recv()}", lambda: created.value
    finally:
        process.terminate()
        process.join()


class _Server(asyncio.Protocol):
    def __init__(self, latency: float, created: Synchronized[int]) -> None:
        self._latency = latency
        self._created = created
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._asked += data
        head, end, body = self._asked.partition(_END)
        if end and (length := _LENGTH.search(head)) and len(body) == int(length[1]):
            self._asked = b""
            asyncio.get_running_loop().call_later(self._latency, self._answer)

    def _answer(self) -> None:
        # Only this process writes it.
        self._created.value += 1
        body = _MESSAGE % self._created.value
        self._transport.write(_HEAD % len(body) + body)


def _run(latency: float, certificate: Path | None, ready: Connection, created: Synchronized[int]) -> None:
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Server(latency, created), "127.0.0.1", 0, ssl=context)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())
