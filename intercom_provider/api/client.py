"""
Two drivers over httpx for the flows of ``flow.py``: one for tasks, one for triggers.

A driver waits for a request's turn, makes the request and hands the outcome to the flow. It decides nothing.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import httpcore
import httpx

from intercom_provider.api import transport
from intercom_provider.api.errors import IntercomError, StoppedError
from intercom_provider.api.flow import Answer, NoReply, Reply, Request
from intercom_provider.api.pacing import Pacer, Reservation
from intercom_provider.api.parallel import Parallel, run_in_tasks, run_in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from intercom_provider.api.parallel import ParallelFlow
    from intercom_provider.api.settings import Settings
    from intercom_provider.api.usage import Usage

log = logging.getLogger(__name__)

T = TypeVar("T")

# How late a wait notices that Airflow stops the task. Airflow kills the process after 5 seconds.
_STOP_CHECK_SECONDS: Final = 0.25
_MIN_LOGGED_DELAY_SECONDS: Final = 5.0
# httpx bounds each single write, so a large request to somebody who reads slowly is written in parts.
_MAX_WRITE_BYTES: Final = 2**16


def _delay(request: Request, pacer: Pacer, reservation: Reservation) -> float | NoReply:
    """Return the seconds until the request may ask again, 0 when it may go, or an outcome when that is too late."""
    now = time.time()
    delay = pacer.delay_for(reservation, time.monotonic())
    if request.deadline is not None and now + delay >= request.deadline:
        return NoReply("there was no time left to ask", sent=False, now=now, late=True)
    if reservation.news:
        level = logging.INFO if delay >= _MIN_LOGGED_DELAY_SECONDS else logging.DEBUG
        log.log(level, "%s waits %.1f s: %s", request, delay, request.why or "the rate limit is used up")
    return delay


def _observe(pacer: Pacer, answer: Answer, waited: float) -> None:
    """Hand the outcome of a request to the pacer; a request may have waited longer than was due for the rate limit."""
    pacer.usage.add(answer.status if isinstance(answer, Reply) else None, waited)
    if isinstance(answer, Reply):
        pacer.observe(answer.status, answer.headers, answer.monotonic, answer.now)


async def _at_once(step: Callable[[], T], /) -> T:
    return step()


class IntercomClient:
    """
    Makes calls from a task. A context manager; not to be shared between threads.

    :param settings: The host, the token and the other settings of the connection.
    :param pacer: The rate limit, shared by the clients that get the same one. None (default) makes a new one.
    :param stopped: Called before every request; the client raises StoppedError once it returns True.
    :param on_close: Called when the client is closed, with what the clients of its pacer have asked for.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pacer: Pacer | None = None,
        stopped: Callable[[], bool] = lambda: False,
        on_close: Callable[[Usage], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self._pacer = pacer or Pacer()
        self._stopped = stopped
        self._on_close = on_close
        self._until = self._write_until = 0.0
        self._head = b""
        self._is_head = False
        self._is_interruptible = False
        self.may_have_sent = False
        """Whether Intercom may have seen the last request."""

        self._http = transport.new_http_client(httpx.Client, settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._on_close(self._pacer.usage)

    def run(self, flow: ParallelFlow[T]) -> T:
        """
        Make a call.

        :param flow: The call, from ``intercom_provider.api.calls``, or a flow that makes several.
        :return: The result of the call.
        :raises IntercomError: When the call raises it.
        :raises StoppedError: When the task is stopped.
        """
        step: Callable[[], Request | Parallel[Any]] = functools.partial(next, flow)
        while True:
            try:
                asked = step()
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(asked, Request):
                step = functools.partial(flow.send, self.exchange(asked))
                continue
            step = functools.partial(next, flow)
            try:
                run_in_threads(asked, self._clone_for_thread)
            except IntercomError as error:
                step = functools.partial(flow.throw, error)

    def _clone_for_thread(self, halted: Callable[[], bool]) -> IntercomClient:
        """Return a client for another thread, with the same rate limit, that stops when this one does or is halted."""
        return IntercomClient(self.settings, pacer=self._pacer, stopped=lambda: halted() or self._stopped())

    def exchange(self, request: Request) -> Answer:
        """
        Make one request of a call when its turn comes. For callers that step through a flow themselves.

        :param request: The request that the flow yielded.
        :return: The reply, or why there is none; to be sent to the flow.
        :raises StoppedError: When the task is stopped; the request was not made.
        """
        # A flow repeats a send only after an answer that rules out that Intercom has read it.
        self.may_have_sent = False
        reservation = Reservation(time.monotonic() + request.after, share=request.share)
        try:
            while delay := self._delay(request, reservation):
                if isinstance(delay, NoReply):
                    return delay
                time.sleep(min(delay, _STOP_CHECK_SECONDS))
            waited = time.monotonic() - reservation.due
            answer = self._ask(request)
            _observe(self._pacer, answer, waited)
            return answer
        finally:
            self._pacer.release(reservation)

    def _delay(self, request: Request, reservation: Reservation) -> float | NoReply:
        if self._stopped():
            raise StoppedError("the task was told to stop; the next request was not made")
        return _delay(request, self._pacer, reservation)

    def _ask(self, request: Request) -> Answer:
        seconds = transport.seconds_for(request, self.settings, time.time())
        now = time.monotonic()
        self._until, self._write_until = now + seconds, transport.write_until(request, seconds, now)
        self._head, self._is_head = b"", False
        self._is_interruptible = request.safe
        # True until a step says otherwise, because another httpx may name its steps differently, or not at all.
        self.may_have_sent = True
        try:
            notice = functools.partial(self._notice, request)
            built = transport.build_request(request, self.settings, self._http.headers, seconds, notice)
            response = self._http.send(built, stream=True)
            body = transport.read_body(response)
        except httpx.ReadTimeout:
            return transport.no_whole_reply(seconds, sent=self.may_have_sent)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return transport.no_reply(error, sent=self.may_have_sent)
        return Reply(response.status_code, response.headers, body, time.time(), self.settings.token)

    def _notice(self, request: Request, step: str, info: Mapping[str, Any]) -> None:
        reaches = transport.may_reach_intercom(request, step, info, self._write_until)
        self.may_have_sent = self.may_have_sent if reaches is None else reaches
        if step.endswith(transport.HEAD_STARTED):
            self._head, self._is_head = b"", True
        elif step.endswith(transport.BODY_STARTED):
            self._is_head = False
        elif step.endswith(transport.CONNECTED):
            stream = info["return_value"]
            stream.read = functools.partial(self._read, stream.read)
            stream.write = functools.partial(self._write, stream.write)

    def _write(self, write: Callable[..., None], data: bytes, timeout: float | None = None) -> None:
        # httpx writes head and body separately, which costs a system call and a packet. So the head waits for the body.
        if self._is_head:
            self._head += data
            return
        data, self._head = self._head + data, b""
        for at in range(0, len(data), _MAX_WRITE_BYTES):
            left = self._until - time.monotonic()
            if left <= 0:
                raise httpx.WriteTimeout("writing the request took too long")
            write(data[at : at + _MAX_WRITE_BYTES], timeout=left if timeout is None else min(left, timeout))

    def _read(self, read: Callable[..., bytes], max_bytes: int, timeout: float | None = None) -> bytes:
        while True:
            # httpx bounds each single read, so a reply that comes byte by byte would never end.
            left = self._until - time.monotonic()
            if left <= 0:
                raise httpx.ReadTimeout("the whole reply took too long")
            left = left if timeout is None else min(left, timeout)
            if not self._is_interruptible:
                return read(max_bytes, timeout=left)
            if self._stopped():
                raise StoppedError("the task was told to stop; the reply was not waited for")
            with suppress(httpcore.ReadTimeout):
                return read(max_bytes, timeout=min(left, _STOP_CHECK_SECONDS))


class AsyncIntercomClient:
    """
    Makes calls from a trigger. An async context manager.

    :param settings: The host, the token and the other settings of the connection.
    :param pacer: The rate limit, shared by the clients that get the same one. None (default) makes a new one.
    """

    def __init__(self, settings: Settings, *, pacer: Pacer | None = None) -> None:
        self.settings = settings
        self._pacer = pacer or Pacer()
        self._http = transport.new_http_client(httpx.AsyncClient, settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def run(self, flow: ParallelFlow[T]) -> T:
        """
        Make a call.

        :param flow: The call, from ``intercom_provider.api.calls``, or a flow that makes several.
        :return: The result of the call.
        :raises IntercomError: When the call raises it.
        """
        step: Callable[[], Request | Parallel[Any]] = functools.partial(next, flow)
        while True:
            try:
                asked = step()
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(asked, Request):
                step = functools.partial(flow.send, await self.exchange(asked))
                continue
            step = functools.partial(next, flow)
            try:
                await run_in_tasks(asked, self.exchange, do=_at_once)
            except IntercomError as error:
                step = functools.partial(flow.throw, error)

    async def exchange(self, request: Request) -> Answer:
        """
        Make one request of a call when its turn comes. For callers that step through a flow themselves.

        :param request: The request that the flow yielded.
        :return: The reply, or why there is none; to be sent to the flow.
        """
        reservation = Reservation(time.monotonic() + request.after, share=request.share)
        try:
            while delay := _delay(request, self._pacer, reservation):
                if isinstance(delay, NoReply):
                    return delay
                await asyncio.sleep(delay)
            waited = time.monotonic() - reservation.due
            answer = await self._ask(request)
            _observe(self._pacer, answer, waited)
            return answer
        finally:
            self._pacer.release(reservation)

    async def _ask(self, request: Request) -> Answer:
        seconds = transport.seconds_for(request, self.settings, time.time())
        until = transport.write_until(request, seconds, time.monotonic())
        may_have_sent = True

        async def notice(step: str, info: Mapping[str, Any]) -> None:
            nonlocal may_have_sent
            reaches = transport.may_reach_intercom(request, step, info, until)
            may_have_sent = may_have_sent if reaches is None else reaches

        try:
            async with asyncio.timeout(seconds):
                built = transport.build_request(request, self.settings, self._http.headers, seconds, notice)
                response = await self._http.send(built, stream=True)
                body = await transport.aread_body(response)
        except (TimeoutError, httpx.ReadTimeout):
            return transport.no_whole_reply(seconds, sent=may_have_sent)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return transport.no_reply(error, sent=may_have_sent)
        return Reply(response.status_code, response.headers, body, time.time(), self.settings.token)
