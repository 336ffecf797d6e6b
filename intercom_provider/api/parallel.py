"""
Calls side by side: which may begin, in what order their results are taken, and the two ways to drive them.

The problem: a wait for a thousand messages asks a thousand questions that do not need each other, and one after the
other they take minutes. The idea: a flow yields one :class:`Parallel` with all of its calls. Only their requests are in
flight at the same time. The calls themselves are stepped one after the other, in the flow's own thread or task, so
neither they nor ``take`` need a lock, and results are taken in the order of the calls, as a loop would.

Rejected: a thread or a task that steps each call by itself (decisions would run concurrently, and differently in the
two drivers), and taking results as they come (what is written would have another order in each poll). The price of the
order: one slow call holds up those behind it. ``MAX_UNTAKEN_RESULTS`` bounds how far ahead of it calls may begin.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from intercom_provider.api.flow import Answer, Flow, Request
from intercom_provider.api.stepper import Stepper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

R = TypeVar("R")
T = TypeVar("T")

MAX_IN_FLIGHT: Final = 20
"""Requests in flight at the same time; with more of them one async client gets slower, not faster."""

MAX_UNTAKEN_RESULTS: Final = 200
"""Calls that may have begun before the oldest result is taken. Bounds what is kept while one call takes long."""

_MAX_LIMIT_SHARE: Final = 0.5


class PendingCall(NamedTuple, Generic[R]):
    """
    A call that has begun.

    :param number: The call's position in the order of the calls.
    :param steps: The call.
    :param request: The call's next request.
    """

    number: int
    steps: Stepper[Request, R]
    request: Request


class Parallel(Generic[R]):
    """
    Calls to be made side by side, and their results, taken in the order of the calls.

    :param calls: The calls; the next one is read when there is room for it.
    :param take: Called with each result.
    :param share: The share of each announced window that they may use (default: half, as waiting is not urgent and
        other tasks need the limit to send); None for the client's own budget.
    """

    def __init__(
        self, calls: Iterator[Flow[R]], take: Callable[[R], None], *, share: float | None = _MAX_LIMIT_SHARE
    ) -> None:
        self._calls = calls
        self._take = take
        self._share = share
        self._started = self._taken = 0
        self._early: dict[int, R] = {}

    def start(self, room: int) -> list[PendingCall[R]]:
        """
        Begin the next calls.

        :param room: How many requests there is room for.
        :return: The calls that have a request to make.
        :raises IntercomError: When a call raises it.
        """
        started: list[PendingCall[R]] = []
        while len(started) < room and self._started - self._taken < MAX_UNTAKEN_RESULTS:
            flow = next(self._calls, None)
            if flow is None:
                break
            self._started += 1
            steps = Stepper(flow)
            steps.begin()
            call = self._went_on(self._started - 1, steps)
            if call is not None:
                started.append(call)
        return started

    def advance(self, call: PendingCall[R], answer: Answer) -> PendingCall[R] | None:
        """
        Continue a call with the answer to its request.

        :param call: The call.
        :param answer: The reply, or why there is none.
        :return: The call with its next request; None when it has ended.
        :raises IntercomError: When the call raises it.
        """
        call.steps.answer(answer)
        return self._went_on(call.number, call.steps)

    def _went_on(self, number: int, steps: Stepper[Request, R]) -> PendingCall[R] | None:
        if steps.asked is not None:
            return PendingCall(number, steps, replace(steps.asked, share=self._share))
        self._early[number] = steps.result
        while self._taken in self._early:
            self._take(self._early.pop(self._taken))
            self._taken += 1
        return None


ParallelFlow: TypeAlias = Generator[Request | Parallel[Any], Answer, T]
"""A flow that may also yield :class:`Parallel`, which is answered with None once all of its calls have ended."""


class BlockingClient(Protocol):
    """The part of a client that :func:`run_in_threads` uses, one client in each thread."""

    def exchange(self, request: Request) -> Answer:
        """Make one request; return the reply, or why there is none."""

    def close(self) -> None:
        """Close the connections."""


def run_in_threads(parallel: Parallel[R], connect: Callable[[Callable[[], bool]], BlockingClient]) -> None:
    """
    Make calls side by side from a task. Its own thread steps the calls; other threads wait for the replies.

    :param parallel: The calls.
    :param connect: Makes a client; the client must stop once the function that it is given returns True.
    :raises IntercomError: The first error; the requests in flight are then aborted.
    """
    started = parallel.start(MAX_IN_FLIGHT)
    if not started:
        return
    halted = threading.Event()
    own = threading.local()
    clients: list[BlockingClient] = []
    in_flight: dict[Future[Answer], PendingCall[R]] = {}
    done: SimpleQueue[Future[Answer]] = SimpleQueue()

    def ask(request: Request) -> Answer:
        client: BlockingClient | None = getattr(own, "client", None)
        if client is None:
            client = own.client = connect(halted.is_set)
            clients.append(client)
        return client.exchange(request)

    pool = ThreadPoolExecutor(MAX_IN_FLIGHT, "intercom-asks")
    try:
        while started or in_flight:
            for call in started:
                future = pool.submit(ask, call.request)
                in_flight[future] = call
                future.add_done_callback(done.put)
            future = done.get()
            again = parallel.advance(in_flight.pop(future), future.result())
            started = [again] if again else parallel.start(MAX_IN_FLIGHT - len(in_flight))
    finally:
        halted.set()
        pool.shutdown(cancel_futures=True)
        for client in clients:
            client.close()


class Do(Protocol):
    """Runs a step of a flow so that it does not block the event loop."""

    async def __call__(self, step: Callable[[], T], /) -> T:
        """Run the step and return its result."""


async def run_in_tasks(
    parallel: Parallel[R],
    ask: Callable[[Request], Awaitable[Answer]],
    *,
    do: Do,
    most: Callable[[], int] = lambda: MAX_IN_FLIGHT,
) -> None:
    """
    Make calls side by side from a trigger.

    :param parallel: The calls.
    :param ask: Makes a request.
    :param do: Runs a step of a call.
    :param most: Returns how many requests may be in flight now (default 20).
    :raises IntercomError: The first error; the requests in flight are then cancelled.
    """
    in_flight: dict[asyncio.Task[Answer], PendingCall[R]] = {}

    async def asked(request: Request) -> Answer:
        return await ask(request)

    def start(call: PendingCall[R]) -> None:
        in_flight[asyncio.create_task(asked(call.request))] = call

    try:
        while True:
            room = most() - len(in_flight)
            for call in await do(partial(parallel.start, room)) if room > 0 else ():
                start(call)
            if not in_flight:
                return
            done, _ = await asyncio.wait(in_flight, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                again = await do(partial(parallel.advance, in_flight.pop(task), task.result()))
                if again is not None:
                    start(again)
    finally:
        for task in in_flight:
            task.cancel()
        await asyncio.gather(*in_flight, return_exceptions=True)
