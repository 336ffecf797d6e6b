"""
Calls that are made side by side: which may begin, in what order they are taken, and how a driver performs them.

A flow yields :class:`Parallel` where it has many calls that do not need each other. All of their decisions are made
one after the other, in the flow's own thread or task; only their requests are in flight at the same time.
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

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from intercom_provider.api.client import IntercomClient

R = TypeVar("R")
T = TypeVar("T")

MAX_IN_FLIGHT: Final = 20
"""How many requests are in flight at most: one async client answers fewer of them a second the more it has."""

MAX_UNTAKEN_RESULTS: Final = 200
"""How many calls may have begun that are not taken yet: so few are held up, or kept, where one takes long."""

# Of each announced window: who waits is in no hurry, and others have something to send.
_LIMIT_SHARE: Final = 0.5


class PendingCall(NamedTuple):
    """A call on its way, and its next request."""

    number: int
    flow: Flow[Any]
    request: Request


class Parallel(Generic[R]):
    """
    Calls to be made side by side, of which the results are taken in the order of the calls.

    :param calls: The calls; each is wanted when there is room for it.
    :param take: Takes a result.
    """

    def __init__(self, calls: Iterator[Flow[R]], take: Callable[[R], None]) -> None:
        self._calls = calls
        self._take = take
        self._started = self._taken = 0
        self._early: dict[int, R] = {}

    def start(self, room: int) -> list[PendingCall]:
        """
        Begin calls, as far as there are any.

        :param room: How many there is room for.
        :return: Those that want to make a request.
        :raises IntercomError: When a call ends with it.
        """
        started: list[PendingCall] = []
        while len(started) < room and self._started - self._taken < MAX_UNTAKEN_RESULTS:
            flow = next(self._calls, None)
            if flow is None:
                break
            self._started += 1
            call = self._step(self._started - 1, flow, partial(next, flow))
            if call is not None:
                started.append(call)
        return started

    def advance(self, call: PendingCall, outcome: Answer) -> PendingCall | None:
        """
        Take in what became of a request.

        :param call: The call.
        :param outcome: What became of it.
        :return: The call with its next request; None when it is over.
        :raises IntercomError: When the call ends with it.
        """
        return self._step(call.number, call.flow, partial(call.flow.send, outcome))

    def _step(self, number: int, flow: Flow[R], step: Callable[[], Request]) -> PendingCall | None:
        try:
            return PendingCall(number, flow, replace(step(), share=_LIMIT_SHARE))
        except StopIteration as end:
            self._early[number] = end.value
        while self._taken in self._early:
            self._take(self._early.pop(self._taken))
            self._taken += 1
        return None


ParallelFlow: TypeAlias = Generator[Request | Parallel[Any], Answer, T]
"""A flow that may also yield :class:`Parallel`, for which it is sent nothing."""


def run_in_threads(parallel: Parallel[Any], connect: Callable[[Callable[[], bool]], IntercomClient]) -> None:
    """
    Make calls side by side from a task; its own thread makes the decisions, and others wait for the replies.

    :param parallel: The calls.
    :param connect: Makes a client, which must not go on once what it is given says so.
    :raises IntercomError: The first error; what is in flight then is broken off.
    """
    started = parallel.start(MAX_IN_FLIGHT)
    if not started:
        return
    halted = threading.Event()
    own = threading.local()
    clients: list[IntercomClient] = []
    under_way: dict[Future[Answer], PendingCall] = {}
    done: SimpleQueue[Future[Answer]] = SimpleQueue()

    def ask(request: Request) -> Answer:
        client: IntercomClient | None = getattr(own, "client", None)
        if client is None:
            client = own.client = connect(halted.is_set)
            clients.append(client)
        return client.exchange(request)

    pool = ThreadPoolExecutor(MAX_IN_FLIGHT, "intercom-asks")
    try:
        while started or under_way:
            for call in started:
                future = pool.submit(ask, call.request)
                under_way[future] = call
                future.add_done_callback(done.put)
            future = done.get()
            again = parallel.advance(under_way.pop(future), future.result())
            started = [again] if again else parallel.start(MAX_IN_FLIGHT - len(under_way))
    finally:
        halted.set()
        pool.shutdown(cancel_futures=True)
        for client in clients:
            client.close()


class Do(Protocol):
    """Takes a step of a flow in a way that holds up nobody."""

    async def __call__(self, step: Callable[[], T], /) -> T:
        """Take the step."""


async def run_in_tasks(
    parallel: Parallel[Any],
    ask: Callable[[Request], Awaitable[Answer]],
    *,
    do: Do,
    most: Callable[[], int] = lambda: MAX_IN_FLIGHT,
) -> None:
    """
    Make calls side by side from a trigger.

    :param parallel: The calls.
    :param ask: Makes a request.
    :param do: Takes a step of a call.
    :param most: Tells how many may be in flight now (default 20).
    :raises IntercomError: The first error; what is in flight then is cancelled.
    """
    under_way: dict[asyncio.Task[Answer], PendingCall] = {}

    async def asked(request: Request) -> Answer:
        return await ask(request)

    def start(call: PendingCall) -> None:
        under_way[asyncio.create_task(asked(call.request))] = call

    try:
        while True:
            room = most() - len(under_way)
            for call in await do(partial(parallel.start, room)) if room > 0 else ():
                start(call)
            if not under_way:
                return
            done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                again = await do(partial(parallel.advance, under_way.pop(task), task.result()))
                if again is not None:
                    start(again)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
