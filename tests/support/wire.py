"""A TCP proxy between a driver and PostgreSQL, which delays, cuts or swallows what passes, as a network does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

_CHUNK_BYTES: Final = 65_536


class Wire:
    """
    Passes connections on to a port of this machine for the length of a `with` block, until it is told otherwise.

    :param port: The server's port.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._lock = threading.Lock()
        self._cut_at: bytes | None = None
        self._cut_answer = False
        self.cuts = 0
        """How often the connection was cut at a statement."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._flows.set()
        self.cut()

    def hang(self) -> None:
        """Hold everything back from now on, without closing anything."""
        self._flows.clear()

    def go_on(self) -> None:
        """Pass on what was held back."""
        self._flows.set()

    def cut(self) -> None:
        """Close all connections; new ones are accepted."""
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Close all connections, and accept no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut_once(self, statement: str, *, answer: bool) -> None:
        """
        Cut the connection at the next statement that begins so.

        :param statement: How the statement begins, such as ``COMMIT``.
        :param answer: Whether the server gets it, and only its answer is lost.
        """
        self._cut_answer, self._cut_at = answer, statement.encode()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                pair = _Pair(client, server)
                with self._lock:
                    self._open |= {client, server}
                for run in (self._pass_questions, self._pass_answers):
                    threading.Thread(target=run, args=(pair,), daemon=True).start()

    def _pass_questions(self, pair: _Pair) -> None:
        with pair, suppress(OSError):
            while data := pair.client.recv(_CHUNK_BYTES):
                self._flows.wait()
                if self._cut_at is not None and self._cut_at in data:
                    self._cut_at, self.cuts = None, self.cuts + 1
                    if not self._cut_answer:
                        return
                    pair.swallows_answers = True
                pair.server.sendall(data)

    def _pass_answers(self, pair: _Pair) -> None:
        with pair, suppress(OSError):
            while data := pair.server.recv(_CHUNK_BYTES):
                self._flows.wait()
                if pair.swallows_answers:
                    # The server has answered, so it has done what it was asked for.
                    return
                pair.client.sendall(data)


class _Pair:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.swallows_answers = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self.client, self.server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
