"""A server that answers with recorded pages, so fast that it hides nothing of the client that reads them."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_CURSOR: Final = b"starting_after="


@contextmanager
def serve(pages: Sequence[bytes]) -> Iterator[str]:
    """
    Serve a list's pages over HTTP during a ``with`` block, from a process of its own.

    :param pages: The bodies, each of which names the cursor of the next one.
    :return: The server's URL.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(list(pages), sender))
    process.start()
    try:
        yield f"http://127.0.0.1:{receiver.recv()}"
    finally:
        process.terminate()
        process.join()


class _Server(asyncio.Protocol):
    def __init__(self, replies: Mapping[bytes, bytes]) -> None:
        self._replies = replies
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._asked += data
        if self._asked.endswith(b"\r\n\r\n"):
            query = self._asked.split(b" ", 2)[1]
            cursor = unquote_to_bytes(query.partition(_CURSOR)[2].partition(b"&")[0])
            self._transport.write(self._replies[cursor])
            self._asked = b""


def _run(pages: list[bytes], ready: Connection) -> None:
    replies, cursor = {}, ""
    for page in pages:
        replies[cursor.encode()] = _HEAD % len(page) + page
        following = json.loads(page)["pages"]["next"]
        cursor = following["starting_after"] if following else ""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: _Server(replies), "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())
