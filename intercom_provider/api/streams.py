"""
The connections below the transport: streams that know whether Intercom may have seen a request.

A message whose reply is lost may have been created. So each byte that is written passes through a stream of this
module, and one question decides: is it one of the request itself? Those of the TLS handshake and of a proxy's CONNECT
are not, because Intercom sees none of the request in them.

An :class:`Exchange` holds what a stream must know of the request that is on its way. A context variable leads to it,
because a connection outlives its requests, and an async client makes several of them at once. The sync and the async
stream differ only in how they wait.

Rejected: reading the names of the steps that httpcore announces (another version may name them differently, and
following them took a third of the CPU of a send), and replacing the methods of its streams.
"""

from __future__ import annotations

import time
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import httpcore

from intercom_provider.api.errors import StoppedError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    from intercom_provider.api.flow import Request
    from intercom_provider.api.settings import Settings

_MIN_REPLY_SECONDS: Final = 0.05
# How late reading a reply notices that Airflow stops the task. Airflow kills the process after 5 seconds.
_STOP_CHECK_SECONDS: Final = 0.25
# A time-out bounds each single write, so a large request to somebody who reads slowly is written in parts.
_MAX_WRITE_BYTES: Final = 2**16
# A send that is written in the last tenth of its time would likely be given up before its answer comes.
_WRITE_SHARE: Final = 0.9
_CONNECT: Final = b"CONNECT "


class Exchange:
    """
    One request on its way.

    :param request: The request. Only a safe one is cut short by its deadline: a send that was written is waited for.
    :param settings: The connection's time-out.
    :param stopped: Returns whether the task is stopped, which ends a safe request.
    """

    def __init__(self, request: Request, settings: Settings, stopped: Callable[[], bool] = lambda: False) -> None:
        seconds = settings.timeout if request.timeout is None else min(settings.timeout, request.timeout)
        if request.safe and request.deadline is not None:
            seconds = min(seconds, max(_MIN_REPLY_SECONDS, request.deadline - time.time()))
        now = time.monotonic()
        self.request = request
        self.seconds = seconds
        """How long it may take, from connecting to the last byte of the reply."""

        self.may_have_sent = False
        """Whether Intercom may have seen any of it."""

        self._until = now + seconds
        # Connecting has a limit for each address and each step, and name resolution has none, so their sum can take
        # all the time there is.
        self._write_until = now + (seconds if request.safe else _WRITE_SHARE * seconds)
        self._stopped = stopped

    def begin_writing(self, data: bytes) -> None:
        """
        Record that bytes are about to be written.

        :param data: The bytes.
        :raises httpcore.ConnectTimeout: When it is too late for the request.
        """
        # A proxy gets a CONNECT first. Until it has opened the tunnel, Intercom cannot see anything.
        if data.startswith(_CONNECT):
            return
        request = self.request
        if not request.safe and request.deadline is not None and time.time() >= request.deadline:
            raise httpcore.ConnectTimeout("the deadline passed before the request could be written")
        if time.monotonic() >= self._write_until:
            raise httpcore.ConnectTimeout("connecting took the time-out up, so the request was not written")
        self.may_have_sent = True

    def check_written(self) -> None:
        """
        Check, before the body of a reply is read, that the reply can be one to this request.

        :raises httpcore.RemoteProtocolError: When the request was not written; the connection must not be used again.
        """
        # Bytes that followed the last reply were read together with it, and look like the next one.
        if not self.may_have_sent:
            raise httpcore.RemoteProtocolError

    def seconds_left(self, error: type[httpcore.TimeoutException]) -> float:
        """
        Return how long the next step may take. Each single step is bounded, but a reply may come byte by byte.

        :param error: The class of the error that is raised once the time is up.
        :return: Seconds.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise error("the whole request took too long")
        return left

    def seconds_to_read(self) -> float:
        """
        Return how long to wait for the next bytes, before asking again.

        :return: Seconds.
        :raises StoppedError: When the task is stopped and the request may be interrupted.
        :raises httpcore.ReadTimeout: Once the time is up.
        """
        left = self.seconds_left(httpcore.ReadTimeout)
        if not self.request.safe:
            return left
        if self._stopped():
            raise StoppedError("the task was told to stop; the reply was not waited for")
        return min(left, _STOP_CHECK_SECONDS)


_current: ContextVar[Exchange] = ContextVar("_current")


def begin(exchange: Exchange) -> None:
    """
    Let the streams know which request this thread or task makes from now on.

    :param exchange: The request.
    """
    _current.set(exchange)


class _Stream(httpcore.NetworkStream):
    """
    A connection. What is written leaves when the reply is read.

    So a request's head and body leave in one piece: apart they would cost a system call and a packet more.
    """

    def __init__(self, wire: httpcore.NetworkStream) -> None:
        self._wire = wire
        self._unwritten = b""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the exchange has its own
        self._unwritten += buffer

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        exchange = _current.get()
        data, self._unwritten = self._unwritten, b""
        if data:
            exchange.begin_writing(data)
            # Somebody who refuses a request early closes the connection, and may have answered before.
            with suppress(httpcore.WriteError):
                for at in range(0, len(data), _MAX_WRITE_BYTES):
                    left = exchange.seconds_left(httpcore.WriteTimeout)
                    self._wire.write(data[at : at + _MAX_WRITE_BYTES], timeout=left)
        while True:
            seconds = exchange.seconds_to_read()
            with suppress(httpcore.ReadTimeout):
                return self._wire.read(max_bytes, timeout=seconds)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._wire.start_tls(ssl_context, server_hostname, timeout))

    def close(self) -> None:
        self._wire.close()

    def get_extra_info(self, info: str) -> object:
        return self._wire.get_extra_info(info)


class _AsyncStream(httpcore.AsyncNetworkStream):
    """A connection of the async client; see :class:`_Stream`. The time of the whole is bounded around it."""

    def __init__(self, wire: httpcore.AsyncNetworkStream) -> None:
        self._wire = wire
        self._unwritten = b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - as above
        self._unwritten += buffer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        data, self._unwritten = self._unwritten, b""
        if data:
            with suppress(httpcore.ReadTimeout):
                # The TLS layer keeps what arrived with the last reply, where the pool does not see it.
                await self._wire.read(1, timeout=0)
                raise httpcore.RemoteProtocolError
            _current.get().begin_writing(data)
            with suppress(httpcore.WriteError):
                await self._wire.write(data, timeout)
        return await self._wire.read(max_bytes, timeout)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await self._wire.start_tls(ssl_context, server_hostname, timeout))

    async def aclose(self) -> None:
        await self._wire.aclose()

    def get_extra_info(self, info: str) -> object:
        return self._wire.get_extra_info(info)


class Backend(httpcore.SyncBackend):
    """Connects for a task."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to Intercom or to a proxy."""
        return _Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))


class AsyncBackend(httpcore.AnyIOBackend):
    """Connects for a trigger."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to Intercom or to a proxy."""
        return _AsyncStream(await super().connect_tcp(host, port, timeout, local_address, socket_options))
