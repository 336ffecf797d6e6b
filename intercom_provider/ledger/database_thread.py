"""
One thread that talks to the ledger's database, so that a database that hangs holds nobody up for long.

A driver that waits for its server hears no signal: psycopg2 learns of an ``execution_timeout`` seconds late, sqlite3
when its own time-out ends. So the task's main thread never calls a driver. It hands the work to this thread and waits,
with a limit. Where the limit passes, the thread is given up together with the call that it is in.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa

from intercom_provider.api.errors import IntercomError
from intercom_provider.ledger.ledger import LedgerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercom_provider.ledger.database import Database

log = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_LIMIT_SECONDS: Final = 10.0
"""How long a call is waited for: longer than the database's own time-outs, and shorter than anybody likes to wait."""

MAX_AFTER_STOP_SECONDS: Final = 2.0
"""How long a call is waited for once the task was told to stop: Airflow kills it after five seconds."""

MAX_IDLE_SECONDS: Final = 5.0
"""How long a connection is kept that no transaction uses."""

_STOP_CHECK_SECONDS: Final = 0.1
_MAX_REPEATS: Final = 4
_REPEAT_PAUSE_SECONDS: Final = 0.05
# What the same transaction may well get through when it is made again: a deadlock, a conflict.
_REPEATED_STATES: Final = frozenset({"40P01", "40001"})


class DatabaseHangsError(Exception):
    """The database did not answer in time; whether the call had an effect is not known."""


class DatabaseThread:
    """
    Runs calls one after the other in a thread of its own, which does not keep the process from ending.

    :param stopped: Returns True when the task was told to stop.
    :param idle: Is called there when there was no call for some seconds.
    :param limit: Seconds for which a call is waited for at most (default 10).
    """

    def __init__(
        self,
        stopped: Callable[[], bool] = lambda: False,
        idle: Callable[[], object] = lambda: None,
        limit: float = DEFAULT_LIMIT_SECONDS,
    ) -> None:
        self._stopped = stopped
        self._idle = idle
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
        begun = time.monotonic()
        give_up, is_stopped = begun + self._limit, False
        while not wait([future], min(_STOP_CHECK_SECONDS, max(0.0, give_up - time.monotonic()))).done:
            if not is_stopped and self._stopped():
                give_up, is_stopped = min(give_up, time.monotonic() + MAX_AFTER_STOP_SECONDS), True
            if time.monotonic() >= give_up:
                self._hangs = True
                raise DatabaseHangsError(f"the database did not answer within {time.monotonic() - begun:.0f} s")
        return future.result()

    def _run(self) -> None:
        while True:
            try:
                future, function = self._calls.get(timeout=MAX_IDLE_SECONDS)
            except queue.Empty:
                self._idle()
                future, function = self._calls.get()
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where it is waited for
                future.set_exception(error)


class Transactions:
    """
    Runs transactions of a ledger, one after the other, each as often as it takes.

    A batch makes some ten transactions a second, and connecting costs as much as one of them. So the connection is kept
    for the next transaction, but not while a task waits for something else.

    :param database: The ledger's database.
    :param stopped: Returns True when the task was told to stop; then the database is not waited for any longer.
    :param limit: Seconds for which one is waited for at most (default 10).
    """

    def __init__(
        self,
        database: Database,
        stopped: Callable[[], bool] = lambda: False,
        limit: float = DEFAULT_LIMIT_SECONDS,
    ) -> None:
        self._database = database
        self._thread = DatabaseThread(stopped, self._disconnect, limit)
        # Used in the database's thread alone.
        self._connection: sa.Connection | None = None

    def run(self, work: Callable[[sa.Connection], T]) -> T:
        """
        Run a transaction; it is made again, as it was, when the database asks for that or the answer was lost.

        :param work: What to do in it; the same each time.
        :return: What the work returns, committed.
        :raises LedgerUnavailableError: When the database cannot be used.
        """

        def run() -> T:
            for repeats in range(_MAX_REPEATS):
                try:
                    return self._run(work)
                except sa.exc.DBAPIError as error:
                    if repeats + 1 == _MAX_REPEATS or not _may_be_repeated(error):
                        raise
                    time.sleep(_REPEAT_PAUSE_SECONDS * (1 + repeats))
            raise AssertionError("a transaction is repeated or raises")

        return self.call(run)

    def call(self, function: Callable[[], T]) -> T:
        """
        Call a function in the database's thread.

        :param function: What to do.
        :return: Its result.
        :raises LedgerUnavailableError: When the database cannot be used.
        """
        try:
            return self._thread.call(function)
        except IntercomError:
            raise
        except Exception as error:
            log.debug("The ledger's database failed", exc_info=error)
            raise LedgerUnavailableError(
                f"the ledger's database (connection {self._database.conn_id}) failed: {_cause(error)}. Check the "
                "database and the connection"
            ) from None

    def _run(self, work: Callable[[sa.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._database.engine.connect()
        try:
            with self._connection.begin():
                return work(self._connection)
        except BaseException:
            # Whatever state it is in: the next transaction begins with another connection.
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()


def _may_be_repeated(error: sa.exc.DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    # A connection that broke has no state, or one of class 08 or 57P. Its commit may have arrived all the same.
    # SQLite has no connection that could break, and has waited for a lock already.
    is_remote = not isinstance(error.orig, sqlite3.Error)
    is_lost = is_remote and (
        error.connection_invalidated or (isinstance(error, sa.exc.OperationalError) and state is None)
    )
    return state in _REPEATED_STATES or is_lost or str(state).startswith(("08", "57P"))


def _cause(error: BaseException) -> str:
    # The first line alone: those behind it repeat the statement and its values.
    original = getattr(error, "orig", None) or error
    lines = str(original).strip().splitlines() or [""]
    return f"{type(original).__name__}: {lines[0][:200]}"
