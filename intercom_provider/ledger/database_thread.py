"""
One thread that talks to the database, so that whatever hangs there holds up nobody for longer than is said.

A driver that waits for its server hears no signal: psycopg2 learns of an ``execution_timeout`` seconds late, sqlite3
when its own time-out ends. So the task's main thread never calls a driver. It hands the work to this thread and waits,
with a limit. Where the limit passes, the thread is given up together with the call that it is in.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

DEFAULT_LIMIT_SECONDS: Final = 10.0
"""How long a call is waited for: longer than the database's own time-outs, and shorter than anybody likes to wait."""


class DatabaseHangsError(Exception):
    """The database did not answer in time; whether the call had an effect is not known."""


class DatabaseThread:
    """
    Runs calls one after the other in a thread of its own, which does not keep the process from ending.

    :param limit: Seconds for which a call is waited for at most (default 10).
    """

    def __init__(self, limit: float = DEFAULT_LIMIT_SECONDS) -> None:
        self._limit = limit
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._hangs = False

    def call(self, function: Callable[[], T]) -> T:
        """
        Run a function there, and wait for its result.

        :param function: What to do.
        :return: Its result.
        :raises DatabaseHangsError: When it did not end in time, or an earlier call has not ended yet.
        """
        if self._hangs:
            raise DatabaseHangsError("the database still has not answered an earlier call")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="intercom-ledger", daemon=True)
            self._thread.start()
        future: Future[T] = Future()
        self._calls.put((future, function))
        try:
            return future.result(self._limit)
        except FutureTimeoutError:
            if future.done():
                raise
            self._hangs = True
            raise DatabaseHangsError(f"the database did not answer within {self._limit:.0f} s") from None

    def _run(self) -> None:
        while True:
            future, function = self._calls.get()
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where it is waited for
                future.set_exception(error)
