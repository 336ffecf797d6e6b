"""
One client for all triggers in an event loop that have the same settings, which share replies to the same requests.

The problem: a triggerer runs a thousand triggers in one event loop. With a client each they would open a thousand
connections, know nothing of each other's rate limits, and read the same ruleset a thousand times. And a trigger that
computes for long, or reads a file, holds up all the others.

The idea: a :class:`_SharedConnection` for each connection's settings holds the one client. A request that is in flight
already is joined, not repeated. Replies are kept only while several triggers poll the same ruleset, and a trigger says
how old a reply may be (``fresh_for``). Within one flow a repeated request is a question for news, as at the end of a
growing list, so it must not be answered with an older reply; the flow remembers when each of its requests was made.
A request belongs to all flows that wait for it. Each flow has its own deadline, and a cancelled flow does not cancel
the request unless it is the last one.

Steps of a flow run in the event loop one at a time, with a pause after each; flows that have read much continue in one
thread beside the loop, and flows that read files in a thread of Airflow's own.

Rejected: Airflow's shared streams, which are for triggers of assets only, not for those of deferred tasks; a cache with
a fixed lifetime, because sensors with different intervals need replies of different ages.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter, OrderedDict
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from intercom_provider.api.client import AsyncIntercomClient
from intercom_provider.api.errors import IntercomError
from intercom_provider.api.flow import Answer, NoReply, Reply, Request
from intercom_provider.api.pacing import Pacer
from intercom_provider.api.parallel import MAX_IN_FLIGHT, Parallel, run_in_tasks
from intercom_provider.api.stepper import Stepper
from intercom_provider.metrics import report_requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Iterator

    from intercom_provider.api.parallel import ParallelFlow
    from intercom_provider.api.settings import Settings

R = TypeVar("R")
T = TypeVar("T")

# A page has some 30 KB, so these are 2 MB; enough for triggers that read the same list shortly after one another.
_MAX_KEPT_REPLIES: Final = 64
# Counting so many bytes takes a few milliseconds. Flows that have read more continue in a thread.
_MAX_BYTES_IN_LOOP: Final = 250_000
_FIRST_STATUS_NOT_OK: Final = 300


@dataclass(slots=True)
class _PendingRequest:
    """A request in flight, when it was made, and how many flows wait for its reply."""

    task: asyncio.Task[Answer]
    since: float
    waiting: int = 0


class _SharedConnection:
    """
    The client for one connection's settings, its requests in flight and its latest replies.

    :param settings: The connection's settings.
    """

    def __init__(self, settings: Settings) -> None:
        pacer = Pacer()
        self.client = AsyncIntercomClient(settings, pacer=pacer)
        self._usage = pacer.usage
        self.shared_keys: Counter[Hashable] = Counter()
        self._parallel_flows = 0
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._in_flight: dict[str, _PendingRequest] = {}
        self._kept: OrderedDict[str, tuple[Reply, float]] = OrderedDict()

    async def ask(self, request: Request, request_key: str, shared_key: Hashable, since: float) -> tuple[Answer, float]:
        """Make a request, unless one that was made after ``since`` is kept or in flight; return when it was made."""
        if request.after:
            # The pause belongs to this flow alone and must not hold up others that make the same request.
            if _is_late(request):
                return _no_time(), 0.0
            await asyncio.sleep(request.after)
        if (kept := self._kept.get(request_key)) and kept[1] > since:
            return kept
        pending = self._in_flight.get(request_key)
        if pending is None:
            pending = self._in_flight[request_key] = self._start(request_key, request, shared_key)
        pending.waiting += 1
        left = None if request.deadline is None else max(0.0, request.deadline - time.time())
        try:
            async with asyncio.timeout(left):
                # Without the shield, cancelling this flow would cancel the request for all who wait for it.
                return await asyncio.shield(pending.task), pending.since
        except TimeoutError:
            return _no_time(), 0.0
        finally:
            pending.waiting -= 1
            if not pending.waiting and not pending.task.done():
                self._forget(request_key, pending)
                pending.task.cancel()

    def _start(self, request_key: str, request: Request, shared_key: Hashable) -> _PendingRequest:
        # Each flow keeps its own deadline, or one flow's deadline would end the request of another.
        pending = _PendingRequest(
            asyncio.create_task(self._exchange(replace(request, after=0.0, deadline=None))), time.monotonic()
        )

        def answered(task: asyncio.Task[Answer]) -> None:
            self._forget(request_key, pending)
            if task.cancelled() or task.exception() is not None:
                return
            reply = task.result()
            if (
                isinstance(reply, Reply)
                and reply.status < _FIRST_STATUS_NOT_OK
                and shared_key is not None
                and self.shared_keys[shared_key] > 1
            ):
                self._kept[request_key] = (reply, pending.since)
                self._kept.move_to_end(request_key)
                if len(self._kept) > _MAX_KEPT_REPLIES:
                    self._kept.popitem(last=False)

        pending.task.add_done_callback(answered)
        return pending

    async def _exchange(self, request: Request) -> Answer:
        async with self._slots:
            answer = await self.client.exchange(request)
        report_requests(self._usage)
        return answer

    def _forget(self, request_key: str, pending: _PendingRequest) -> None:
        if self._in_flight.get(request_key) is pending:
            del self._in_flight[request_key]

    @contextmanager
    def parallel_flow(self) -> Iterator[Callable[[], int]]:
        """Count a flow that makes parallel requests; yield a function that returns its share of the slots."""
        self._parallel_flows += 1
        try:
            yield lambda: -(-MAX_IN_FLIGHT // self._parallel_flows)
        finally:
            self._parallel_flows -= 1

    def leave(self, shared_key: Hashable) -> None:
        """Remove one user of a shared key; drop all kept replies when no key has several users."""
        self.shared_keys[shared_key] -= 1
        if not self.shared_keys[shared_key]:
            del self.shared_keys[shared_key]
        if max(self.shared_keys.values(), default=0) <= 1:
            self._kept.clear()


class _LoopState:
    """The state that the triggers of one event loop share."""

    def __init__(self) -> None:
        self.connections: dict[Settings, _SharedConnection] = {}
        # Reading a page takes milliseconds. Without the lock many pages that arrive together would stall the loop.
        self.loop_step = asyncio.Lock()
        # More than one thread would compete with the loop for the interpreter lock.
        self.thread_step = asyncio.Lock()


_states: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopState] = WeakKeyDictionary()


class SharedClient:
    """
    Runs the flows of one trigger over a client that it shares with others; made by :func:`shared_client`.

    :param state: The state of the event loop.
    :param connection: The shared connection.
    :param shared_key: What the trigger polls; None when no other trigger polls the same.
    :param fresh_for: Seconds for which a reply to another trigger is used again.
    """

    def __init__(
        self, state: _LoopState, connection: _SharedConnection, shared_key: Hashable, fresh_for: float
    ) -> None:
        self._state = state
        self._connection = connection
        self._shared_key = shared_key
        self._fresh_for = fresh_for

    async def run(self, flow: ParallelFlow[T], *, blocking: bool = False) -> T:
        """
        Run a flow without holding up the event loop.

        :param flow: The flow.
        :param blocking: Whether the flow's own steps may block, as when they read files (default False).
        :return: The flow's result.
        :raises IntercomError: The flow's error.
        """
        steps = Stepper(flow)
        step: Callable[[], None] = steps.begin
        bytes_read, began = 0, time.monotonic()
        # A request that this flow repeats asks for news, so only a newer reply will do.
        made_at: dict[str, float] = {}
        while True:
            do = functools.partial(self._do, blocking=blocking, in_thread=bytes_read > _MAX_BYTES_IN_LOOP)
            await do(step)
            if (asked := steps.asked) is None:
                return steps.result
            if isinstance(asked, Parallel):
                step = steps.answer
                try:
                    with self._connection.parallel_flow() as most:
                        await run_in_tasks(asked, self._ask, do=do, most=most)
                except IntercomError as error:
                    step = functools.partial(steps.fail, error)
                continue
            request_key = _request_key(asked)
            since = made_at.get(request_key, began - self._fresh_for)
            answer, made_at[request_key] = await self._connection.ask(asked, request_key, self._shared_key, since)
            if isinstance(answer, Reply):
                bytes_read += len(answer.body)
            step = functools.partial(steps.answer, answer)

    async def _ask(self, request: Request) -> Answer:
        answer, _ = await self._connection.ask(request, _request_key(request), self._shared_key, time.monotonic())
        return answer

    async def _do(self, step: Callable[[], R], /, *, blocking: bool, in_thread: bool) -> R:
        if blocking:
            # Storage may need a connection of Airflow's, which before 3.3 can be read only in a thread of asgiref's.
            return await sync_to_async(step, thread_sensitive=False)()
        if in_thread:
            async with self._state.thread_step:
                return await asyncio.to_thread(step)
        async with self._state.loop_step:
            taken = step()
            await asyncio.sleep(0)
        return taken


@asynccontextmanager
async def shared_client(
    settings: Settings, *, shared_key: Hashable = None, fresh_for: float = 0.0
) -> AsyncIterator[SharedClient]:
    """
    Return a client that all triggers in this event loop with the same settings share; the last one closes it.

    :param settings: The connection's settings.
    :param shared_key: What is polled, such as a ruleset's id (default None: no other trigger polls the same). Replies
        are kept while several triggers have the same key.
    :param fresh_for: Seconds for which a reply to another trigger is used again (default 0).
    :return: The client, as an async context manager.
    """
    state = _states.setdefault(asyncio.get_running_loop(), _LoopState())
    connection = state.connections.get(settings)
    if connection is None:
        connection = state.connections[settings] = _SharedConnection(settings)
    connection.shared_keys[shared_key] += 1
    try:
        yield SharedClient(state, connection, shared_key, fresh_for)
    finally:
        connection.leave(shared_key)
        if not connection.shared_keys:
            del state.connections[settings]
            await connection.client.aclose()


def _request_key(request: Request) -> str:
    if not request.safe:
        raise ValueError(f"{request} changes something, so it cannot be shared")
    return f"{request.method} {request.path} {request.params} {request.json} {request.timeout}"


def _is_late(request: Request) -> bool:
    return request.deadline is not None and time.time() + request.after >= request.deadline


def _no_time() -> NoReply:
    return NoReply("there was no time left to ask", sent=False, now=time.time(), late=True)
