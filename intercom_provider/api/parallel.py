"""
Calls that are made side by side: which may begin, in what order they are taken, and how a driver performs them.

A flow yields :class:`Together` where it has many calls that do not need each other. All of their decisions are made
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

from intercom_provider.api.flow import Flow, Outcome, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from intercom_provider.api.client import IntercomClient

R = TypeVar("R")
T = TypeVar("T")

MOST_IN_FLIGHT: Final = 20
"""How many requests are in flight at most: one async client answers fewer of them a second the more it has."""

AHEAD: Final = 200
"""How many calls may have begun that are not taken yet: so few are held up, or kept, where one takes long."""

# Of each announced window: who waits is in no hurry, and others have something to send.
_SHARE: Final = 0.5


class Course(NamedTuple):
    """A call on its way, and its next request."""

    number: int
    flow: Flow[Any]
    request: Request


class Together(Generic[R]):
    """
    Calls to be made side by side, of which the results are taken in the order of the calls.

    :param calls: The calls; each is wanted when there is room for it.
    :param take: Takes a result.
    """

    def __init__(self, calls: Iterator[Flow[R]], take: Callable[[R], None]) -> None:
        self._calls = calls
        self._take = take
        self._begun = self._taken = 0
        self._early: dict[int, R] = {}

    def begin(self, room: int) -> list[Course]:
        """
        Begin calls, as far as there are any.

        :param room: How many there is room for.
        :return: Those that want to make a request.
        :raises IntercomError: When a call ends with it.
        """
        begun: list[Course] = []
        while len(begun) < room and self._begun - self._taken < AHEAD:
            flow = next(self._calls, None)
            if flow is None:
                break
            self._begun += 1
            course = self._step(self._begun - 1, flow, partial(next, flow))
            if course is not None:
                begun.append(course)
        return begun

    def answer(self, course: Course, outcome: Outcome) -> Course | None:
        """
        Take in what became of a request.

        :param course: The call.
        :param outcome: What became of it.
        :return: The call with its next request; None when it is over.
        :raises IntercomError: When the call ends with it.
        """
        return self._step(course.number, course.flow, partial(course.flow.send, outcome))

    def _step(self, number: int, flow: Flow[R], step: Callable[[], Request]) -> Course | None:
        try:
            return Course(number, flow, replace(step(), share=_SHARE))
        except StopIteration as end:
            self._early[number] = end.value
        while self._taken in self._early:
            self._take(self._early.pop(self._taken))
            self._taken += 1
        return None


Wide: TypeAlias = Generator[Request | Together[Any], Outcome, T]
"""A flow that may also yield :class:`Together`, for which it is sent nothing."""


def in_threads(together: Together[Any], connect: Callable[[Callable[[], bool]], IntercomClient]) -> None:
    """
    Make calls side by side from a task; its own thread makes the decisions, and others wait for the replies.

    :param together: The calls.
    :param connect: Makes a client, which must not go on once what it is given says so.
    :raises IntercomError: The first error; what is in flight then is broken off.
    """
    courses = together.begin(MOST_IN_FLIGHT)
    if not courses:
        return
    halted = threading.Event()
    own = threading.local()
    clients: list[IntercomClient] = []
    under_way: dict[Future[Outcome], Course] = {}
    done: SimpleQueue[Future[Outcome]] = SimpleQueue()

    def ask(request: Request) -> Outcome:
        client: IntercomClient | None = getattr(own, "client", None)
        if client is None:
            client = own.client = connect(halted.is_set)
            clients.append(client)
        return client.exchange(request)

    pool = ThreadPoolExecutor(MOST_IN_FLIGHT, "intercom-asks")
    try:
        while courses or under_way:
            for course in courses:
                future = pool.submit(ask, course.request)
                under_way[future] = course
                future.add_done_callback(done.put)
            future = done.get()
            again = together.answer(under_way.pop(future), future.result())
            courses = [again] if again else together.begin(MOST_IN_FLIGHT - len(under_way))
    finally:
        halted.set()
        pool.shutdown(cancel_futures=True)
        for client in clients:
            client.close()


class Do(Protocol):
    """Takes a step of a flow in a way that holds up nobody."""

    async def __call__(self, step: Callable[[], T], /) -> T:
        """Take the step."""


async def in_tasks(
    together: Together[Any],
    ask: Callable[[Request], Awaitable[Outcome]],
    *,
    do: Do,
    most: Callable[[], int] = lambda: MOST_IN_FLIGHT,
) -> None:
    """
    Make calls side by side from a trigger.

    :param together: The calls.
    :param ask: Makes a request.
    :param do: Takes a step of a call.
    :param most: Tells how many may be in flight now (default 20).
    :raises IntercomError: The first error; what is in flight then is cancelled.
    """
    under_way: dict[asyncio.Task[Outcome], Course] = {}

    async def asked(request: Request) -> Outcome:
        return await ask(request)

    def start(course: Course) -> None:
        under_way[asyncio.create_task(asked(course.request))] = course

    try:
        while True:
            room = most() - len(under_way)
            for course in await do(partial(together.begin, room)) if room > 0 else ():
                start(course)
            if not under_way:
                return
            done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                again = await do(partial(together.answer, under_way.pop(task), task.result()))
                if again is not None:
                    start(again)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
