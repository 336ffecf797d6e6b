"""
Two drivers for the flows of ``flow.py``: one for tasks, one for triggers.

A driver waits for a request's turn, has the transport make it, and hands the outcome to the flow. It decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, Self, TypeVar

from intercom_provider.api.errors import IntercomError, StoppedError
from intercom_provider.api.flow import Answer, NoReply, Reply, Request
from intercom_provider.api.pacing import Pacer, Reservation
from intercom_provider.api.parallel import run_in_tasks, run_in_threads
from intercom_provider.api.stepper import Stepper
from intercom_provider.api.transport import AsyncTransport, Transport

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from intercom_provider.api.parallel import ParallelFlow
    from intercom_provider.api.settings import Settings
    from intercom_provider.api.usage import Usage

log = logging.getLogger(__name__)

T = TypeVar("T")

# How late a wait notices that Airflow stops the task. Airflow kills the process after 5 seconds.
_STOP_CHECK_SECONDS: Final = 0.25
_MIN_LOGGED_DELAY_SECONDS: Final = 5.0


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
        self._transport = Transport(settings, stopped)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def may_have_sent(self) -> bool:
        """Whether Intercom may have seen any of the last request."""
        return self._transport.may_have_sent

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
        self._on_close(self._pacer.usage)

    def run(self, flow: ParallelFlow[T]) -> T:
        """
        Make a call.

        :param flow: The call, from ``intercom_provider.api.calls``, or a flow that makes several.
        :return: The result of the call.
        :raises IntercomError: When the call raises it.
        :raises StoppedError: When the task is stopped.
        """
        steps = Stepper(flow)
        steps.begin()
        while (asked := steps.asked) is not None:
            if isinstance(asked, Request):
                steps.answer(self.exchange(asked))
                continue
            try:
                run_in_threads(asked, self._clone_for_thread)
            except IntercomError as error:
                steps.fail(error)
            else:
                steps.answer()
        return steps.result

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
        self._transport.forget()
        reservation = Reservation(time.monotonic() + request.after, share=request.share)
        try:
            while delay := self._delay(request, reservation):
                if isinstance(delay, NoReply):
                    return delay
                time.sleep(min(delay, _STOP_CHECK_SECONDS))
            waited = time.monotonic() - reservation.due
            answer = self._transport.exchange(request)
            _observe(self._pacer, answer, waited)
            return answer
        finally:
            self._pacer.release(reservation)

    def _delay(self, request: Request, reservation: Reservation) -> float | NoReply:
        if self._stopped():
            raise StoppedError("the task was told to stop; the next request was not made")
        return _delay(request, self._pacer, reservation)


class AsyncIntercomClient:
    """
    Makes calls from a trigger. An async context manager.

    :param settings: The host, the token and the other settings of the connection.
    :param pacer: The rate limit, shared by the clients that get the same one. None (default) makes a new one.
    """

    def __init__(self, settings: Settings, *, pacer: Pacer | None = None) -> None:
        self.settings = settings
        self._pacer = pacer or Pacer()
        self._transport = AsyncTransport(settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def run(self, flow: ParallelFlow[T]) -> T:
        """
        Make a call.

        :param flow: The call, from ``intercom_provider.api.calls``, or a flow that makes several.
        :return: The result of the call.
        :raises IntercomError: When the call raises it.
        """
        steps = Stepper(flow)
        steps.begin()
        while (asked := steps.asked) is not None:
            if isinstance(asked, Request):
                steps.answer(await self.exchange(asked))
                continue
            try:
                await run_in_tasks(asked, self.exchange, do=_at_once)
            except IntercomError as error:
                steps.fail(error)
            else:
                steps.answer()
        return steps.result

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
            answer = await self._transport.exchange(request)
            _observe(self._pacer, answer, waited)
            return answer
        finally:
            self._pacer.release(reservation)
