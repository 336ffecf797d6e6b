"""Waiting for a database that hangs: with a limit, and no longer than a stop or a time-out allows."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import pytest
import sqlalchemy as sa

from intercom_provider.ledger.database import open_database
from intercom_provider.ledger.database_thread import (
    MAX_AFTER_STOP_SECONDS,
    DatabaseHangsError,
    DatabaseThread,
    Transactions,
)
from intercom_provider.ledger.ledger import LedgerUnavailableError
from tests.support.databases import connect_ledger
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import LedgerDatabase


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Return an event that a call waits for, until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_results_and_errors_come_back_and_all_calls_run_in_one_thread() -> None:
    thread = DatabaseThread()
    assert thread.call(threading.get_ident) == thread.call(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 / 0)


def test_an_error_that_is_a_time_out_itself_is_not_taken_for_the_limit() -> None:
    def fail() -> NoReturn:
        raise TimeoutError("the driver's own")

    thread = DatabaseThread()
    with pytest.raises(TimeoutError, match="the driver's own"):
        thread.call(fail)
    assert thread.call(lambda: 1) == 1


def test_a_call_that_does_not_end_is_given_up_and_no_other_waits_behind_it(never: threading.Event) -> None:
    thread = DatabaseThread(limit=0.3)
    begun = time.monotonic()
    with pytest.raises(DatabaseHangsError, match="did not answer within"):
        thread.call(never.wait)
    with pytest.raises(DatabaseHangsError, match="has not answered an earlier call"):
        thread.call(lambda: 1)
    assert time.monotonic() - begun < 2


def test_a_stop_ends_the_wait_before_airflow_kills_the_task(never: threading.Event) -> None:
    told = threading.Event()
    thread = DatabaseThread(told.is_set)
    threading.Timer(0.2, told.set).start()
    begun = time.monotonic()
    with pytest.raises(DatabaseHangsError):
        thread.call(never.wait)
    assert MAX_AFTER_STOP_SECONDS <= time.monotonic() - begun < MAX_AFTER_STOP_SECONDS + 1.5


def test_a_database_that_answers_after_a_stop_is_heard() -> None:
    thread = DatabaseThread(lambda: True)
    assert thread.call(lambda: time.sleep(0.5) or "recorded") == "recorded"  # type: ignore[func-returns-value]


def test_a_time_out_of_the_task_strikes_within_the_wait(never: threading.Event) -> None:
    class StruckError(BaseException):
        pass

    def strike(number: int, frame: object) -> NoReturn:
        del number, frame
        raise StruckError

    before = signal.signal(signal.SIGALRM, strike)
    begun = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(StruckError):
            DatabaseThread().call(never.wait)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - begun < 2


def test_a_connection_is_kept_for_the_next_transaction_and_replaced_when_it_broke(
    postgres_database: LedgerDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert postgres_database.postgres
    with Wire(postgres_database.postgres.port) as wire:
        connect_ledger(monkeypatch, postgres_database, port=wire.port)
        transactions = Transactions(open_database("ledger"))

        def backend() -> int:
            query = sa.select(sa.func.pg_backend_pid())
            return transactions.run(lambda connection: int(connection.execute(query).scalar_one()))

        first = backend()
        assert backend() == first
        wire.cut()
        assert backend() != first


def test_what_failed_is_named_without_the_statement_and_its_values(postgres_database: LedgerDatabase) -> None:
    del postgres_database
    transactions = Transactions(open_database("ledger"))
    query = sa.text("SELECT * FROM nowhere WHERE key = :key")
    with pytest.raises(LedgerUnavailableError) as failed:
        transactions.run(lambda connection: connection.execute(query, {"key": "ada@example.com"}))
    assert 'relation "nowhere" does not exist' in str(failed.value)
    assert "ada@example.com" not in str(failed.value)
    assert failed.value.transient
