"""
One client for all triggers in a process that use the same connection: what several ask, is asked once.

Airflow's own shared streams are for the triggers of assets only, not for those of deferred tasks.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter, OrderedDict
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from intercom_provider.api.client import AsyncIntercomClient
from intercom_provider.api.errors import IntercomError
from intercom_provider.api.flow import Answer, NoReply, Reply, Request
from intercom_provider.api.parallel import MAX_IN_FLIGHT, Parallel, run_in_tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Iterator

    from intercom_provider.api.parallel import ParallelFlow
    from intercom_provider.api.settings import Settings

R = TypeVar("R")
T = TypeVar("T")
_Asks: TypeAlias = Request | Parallel[Any]

# Pages are some 30 KB; enough for those who read the same list a moment after one another.
_MOST_KEPT: Final = 64
# What was read up to here is quickly added up; more is left to a thread.
_QUICKLY_READ: Final = 250_000
_GOOD: Final = 300


@dataclass(slots=True)
class _Asked:
    """A question that is being asked, and how many wait for the answer."""

    task: asyncio.Task[Answer]
    since: float
    waiting: int = 0


class _SharedConnection:
    """A connection's client, and what is known of its answers."""

    def __init__(self, settings: Settings) -> None:
        self.client = AsyncIntercomClient(settings)
        self.shared_keys: Counter[Hashable] = Counter()
        self._asking_together = 0
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._asked: dict[str, _Asked] = {}
        self._kept: OrderedDict[str, tuple[Reply, float]] = OrderedDict()

    async def ask(self, request: Request, question: str, shared_key: Hashable, since: float) -> tuple[Answer, float]:
        """Ask, or share an answer that somebody else has asked for since then; and tell when it was asked for."""
        if request.after:
            # Waited for alone, holding up nobody.
            if _is_late(request):
                return _no_time(), 0.0
            await asyncio.sleep(request.after)
        if (kept := self._kept.get(question)) and kept[1] > since:
            return kept
        asked = self._asked.get(question)
        if asked is None:
            asked = self._asked[question] = self._start(question, request, shared_key)
        asked.waiting += 1
        left = None if request.deadline is None else max(0.0, request.deadline - time.time())
        try:
            async with asyncio.timeout(left):
                # Shielded: the others who wait for it want it even when this one is cancelled.
                return await asyncio.shield(asked.task), asked.since
        except TimeoutError:
            return _no_time(), 0.0
        finally:
            asked.waiting -= 1
            if not asked.waiting and not asked.task.done():
                self._forget(question, asked)
                asked.task.cancel()

    def _start(self, question: str, request: Request, shared_key: Hashable) -> _Asked:
        # The deadline is each waiter's own: nobody gets to hear that another one had no time.
        asked = _Asked(
            asyncio.create_task(self._exchange(replace(request, after=0.0, deadline=None))), time.monotonic()
        )

        def answered(task: asyncio.Task[Answer]) -> None:
            self._forget(question, asked)
            if task.cancelled() or task.exception() is not None:
                return
            reply = task.result()
            if (
                isinstance(reply, Reply)
                and reply.status < _GOOD
                and shared_key is not None
                and self.shared_keys[shared_key] > 1
            ):
                self._kept[question] = (reply, asked.since)
                self._kept.move_to_end(question)
                if len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)

        asked.task.add_done_callback(answered)
        return asked

    async def _exchange(self, request: Request) -> Answer:
        async with self._slots:
            return await self.client.exchange(request)

    def _forget(self, question: str, asked: _Asked) -> None:
        if self._asked.get(question) is asked:
            del self._asked[question]

    @contextmanager
    def shared(self) -> Iterator[Callable[[], int]]:
        """Tell, while somebody has much to ask, how much of it may be in flight: as much as of anybody else's."""
        self._asking_together += 1
        try:
            yield lambda: -(-MAX_IN_FLIGHT // self._asking_together)
        finally:
            self._asking_together -= 1

    def leave(self, shared_key: Hashable) -> None:
        """Let one user of a subject go; what nobody shares any more is not kept."""
        self.shared_keys[shared_key] -= 1
        if not self.shared_keys[shared_key]:
            del self.shared_keys[shared_key]
        if max(self.shared_keys.values(), default=0) <= 1:
            self._kept.clear()


class _Loop:
    """What the triggers of one event loop share."""

    def __init__(self) -> None:
        self.lines: dict[Settings, _SharedConnection] = {}
        # Reading a page takes milliseconds; many that arrive at once must not add up to a stall.
        self.turn = asyncio.Lock()
        # One thread beside the loop is enough, and more would keep it from its work.
        self.thread = asyncio.Lock()


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()


class SharedClient:
    """
    Talks to Intercom from a trigger, over a client that it shares with others.

    Made by :func:`shared_client`.
    """

    def __init__(self, loop: _Loop, line: _SharedConnection, shared_key: Hashable, fresh_for: float) -> None:
        self._loop = loop
        self._line = line
        self._shared_key = shared_key
        self._fresh_for = fresh_for

    async def run(self, flow: ParallelFlow[T], *, blocking: bool = False) -> T:
        """
        Carry out a call without holding up the event loop, however much it reads.

        :param flow: The call, or a flow that makes several.
        :param blocking: Whether its own steps may take long, as when they read files (default False).
        :return: What the call returns.
        :raises IntercomError: What the call raises.
        """
        step: Callable[[], _Asks] = functools.partial(next, flow)
        read, begun = 0, time.monotonic()
        # Who asks the same again, as at the end of a list, wants to know what has changed.
        known: dict[str, float] = {}
        while True:
            do = functools.partial(self._do, blocking=blocking, much=read > _QUICKLY_READ)
            taken = await do(functools.partial(_step, step))
            if isinstance(taken, tuple):
                result: T = taken[0]
                return result
            if isinstance(taken, Parallel):
                step = functools.partial(next, flow)
                try:
                    with self._line.shared() as most:
                        await run_in_tasks(taken, self._ask, do=do, most=most)
                except IntercomError as error:
                    step = functools.partial(flow.throw, error)
                continue
            question = _question(taken)
            since = known.get(question, begun - self._fresh_for)
            outcome, known[question] = await self._line.ask(taken, question, self._shared_key, since)
            if isinstance(outcome, Reply):
                read += len(outcome.body)
            step = functools.partial(flow.send, outcome)

    async def _ask(self, request: Request) -> Answer:
        outcome, _ = await self._line.ask(request, _question(request), self._shared_key, time.monotonic())
        return outcome

    async def _do(self, step: Callable[[], R], /, *, blocking: bool, much: bool) -> R:
        if blocking:
            # Storage may need a connection of Airflow's; before 3.3 only such a thread can get at it.
            return await sync_to_async(step, thread_sensitive=False)()
        if much:
            async with self._loop.thread:
                return await asyncio.to_thread(step)
        async with self._loop.turn:
            taken = step()
            await asyncio.sleep(0)
        return taken


@asynccontextmanager
async def shared_client(
    settings: Settings, *, shared_key: Hashable = None, fresh_for: float = 0.0
) -> AsyncIterator[SharedClient]:
    """
    Give a client that everybody in this event loop shares who has the same settings; the last closes it.

    :param settings: Where and as whom.
    :param shared_key: What is asked about, such as a ruleset's id; answers are kept while several ask about the
        same. None for what nobody else asks.
    :param fresh_for: Seconds for which an answer that somebody else was given will do (default 0).
    :return: The client, as an async context manager.
    """
    loop = _loops.setdefault(asyncio.get_running_loop(), _Loop())
    line = loop.lines.get(settings)
    if line is None:
        line = loop.lines[settings] = _SharedConnection(settings)
    line.shared_keys[shared_key] += 1
    try:
        yield SharedClient(loop, line, shared_key, fresh_for)
    finally:
        line.leave(shared_key)
        if not line.shared_keys:
            del loop.lines[settings]
            await line.client.aclose()


def _step(step: Callable[[], _Asks]) -> _Asks | tuple[Any]:
    """Take a flow's next step; its result comes as a tuple, as what ends a generator cannot leave a thread."""
    try:
        return step()
    except StopIteration as end:
        return (end.value,)


def _question(request: Request) -> str:
    if not request.safe:
        raise ValueError(f"{request} changes something, and is not to be shared")
    return f"{request.method} {request.path} {request.params} {request.json} {request.timeout}"


def _is_late(request: Request) -> bool:
    return request.deadline is not None and time.time() + request.after >= request.deadline


def _no_time() -> NoReply:
    return NoReply("there was no time left to ask", sent=False, now=time.time(), late=True)
