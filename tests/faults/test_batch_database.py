"""A batch whose ledger's database fails: nobody is messaged twice, no outcome is a lie, and a stop is heard."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sqlite3
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest

from intercom_provider.api.errors import StoppedError
from intercom_provider.api.settings import Settings
from intercom_provider.ledger.database_thread import DEFAULT_LIMIT_SECONDS
from intercom_provider.ledger.ledger import Intent, LedgerUnavailableError, Result
from intercom_provider.ledger.sql import Lease
from tests.support import hostile, table_sender
from tests.support.databases import LedgerDatabase, connect_ledger
from tests.support.eventually import eventually
from tests.support.hostile import TOKEN, Hostile
from tests.support.server_process import free_port
from tests.support.table_sender import send_people, table_ledger
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from intercom_provider.ledger.sql import SqlLedger
    from intercom_provider.sending.batch.run import BatchRun

PEOPLE: Final = range(600)
FULL_AFTER_BYTES: Final = 150_000

_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([table_sender.__name__])


@pytest.fixture
def server() -> Iterator[Hostile]:
    with Hostile() as server:
        yield server


@pytest.fixture
def settings(server: Hostile) -> Settings:
    return Settings(token=TOKEN, base_url=server.url)


@pytest.fixture
def wire(postgres_database: LedgerDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """Lead the ledger's connection through a proxy."""
    assert postgres_database.postgres
    with Wire(postgres_database.postgres.port) as wire:
        connect_ledger(monkeypatch, postgres_database, port=wire.port)
        yield wire


@contextmanager
def when_reached(server: Hostile, number: int, act: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread once so many messages were sent."""

    def run() -> None:
        if eventually(lambda: len(server.created) >= number, within=30):
            act()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()


def people_of(server: Hostile) -> set[str]:
    """Return the people who got a message, none of them two."""
    times = Counter(message["to"]["id"] for message in server.created)
    assert set(times.values()) <= {1}
    return set(times)


def check_truth(database: LedgerDatabase, server: Hostile) -> set[str]:
    """Check the table against what was sent, and return whom it calls unconfirmed or has claimed."""
    reached = people_of(server)
    rows = dict(database.execute("SELECT key, outcome FROM intercom_messages"))
    assert {key for key, outcome in rows.items() if outcome == "sent"} <= reached
    assert reached <= {key for key, outcome in rows.items() if outcome in ("sent", "unconfirmed", None)}
    return {key for key, outcome in rows.items() if outcome in ("unconfirmed", None)}


def check_retry(database: LedgerDatabase, server: Hostile, settings: Settings) -> dict[str, int]:
    """Check that a retry sends the rest, and that only what the table does not know is unconfirmed."""
    unknown = check_truth(database, server)
    counts = send_people(PEOPLE, table_ledger(number=2), settings)
    assert counts["unconfirmed"] == len(unknown)
    assert sum(counts.values()) == len(PEOPLE)
    assert people_of(server) >= set(map(str, PEOPLE)) - unknown
    check_truth(database, server)
    return counts


def check_counts(run: BatchRun, server: Hostile) -> None:
    """Check what a batch that ended early says of its messages."""
    counts, reached = run.counts, len(people_of(server))
    assert counts.sent <= reached <= counts.sent + counts.unconfirmed
    assert counts.done == len(PEOPLE)


def test_a_database_that_refuses_connections_is_named_and_nothing_is_sent(
    server: Hostile, settings: Settings, postgres_database: LedgerDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_ledger(monkeypatch, postgres_database, port=free_port())
    with pytest.raises(LedgerUnavailableError) as failed:
        send_people(PEOPLE, table_ledger(), settings)
    assert "ledger's database (connection ledger) failed: OperationalError" in str(failed.value)[:100]
    assert failed.value.transient
    assert not server.requests
    assert postgres_database.postgres
    assert postgres_database.postgres.password not in str(failed.value)


def test_a_database_that_goes_away_stops_the_batch(
    server: Hostile, settings: Settings, wire: Wire, postgres_database: LedgerDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[BatchRun] = []
    with when_reached(server, 100, wire.refuse), pytest.raises(LedgerUnavailableError):
        send_people(PEOPLE, table_ledger(), settings, into=made)
    check_counts(made[0], server)
    connect_ledger(monkeypatch, postgres_database)
    check_retry(postgres_database, server, settings)


@contextmanager
def now_and_then(server: Hostile, act: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread several times on the way."""
    over = threading.Event()

    def run() -> None:
        for number in range(50, len(PEOPLE), 150):
            while len(server.created) < number and not over.wait(0.002):
                pass
            act()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_server_that_ends_all_connections_costs_nothing(
    server: Hostile, settings: Settings, postgres_database: LedgerDatabase
) -> None:
    end_all = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    with now_and_then(server, lambda: postgres_database.execute(end_all)):
        assert send_people(PEOPLE, table_ledger(), settings)["sent"] == len(PEOPLE)
    assert not check_truth(postgres_database, server)
    assert people_of(server) == set(map(str, PEOPLE))


@pytest.mark.parametrize("answer", [True, False])
def test_a_commit_whose_answer_is_lost_is_made_again_and_costs_nothing(
    server: Hostile, settings: Settings, wire: Wire, postgres_database: LedgerDatabase, *, answer: bool
) -> None:
    with now_and_then(server, lambda: wire.cut_once("COMMIT", answer=answer)):
        counts = send_people(PEOPLE, table_ledger(), settings)
    assert wire.cuts >= 3
    assert counts["sent"] == len(PEOPLE)
    assert people_of(server) == set(map(str, PEOPLE))
    assert not check_truth(postgres_database, server)


def hold_lock(database: LedgerDatabase) -> Any:
    """Lock the table in another session, and return what ends it."""
    if database.postgres is not None:
        session = database.postgres.connect()
        session.execute("BEGIN")
        session.execute("LOCK TABLE intercom_messages IN ACCESS EXCLUSIVE MODE")
        return session
    assert database.file
    other = sqlite3.connect(database.file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_a_lock_that_is_held_stops_the_batch_within_seconds(
    server: Hostile, settings: Settings, database: LedgerDatabase
) -> None:
    made: list[BatchRun] = []
    locks: list[tuple[float, Any]] = []
    locked = when_reached(server, 100, lambda: locks.append((time.monotonic(), hold_lock(database))))
    with locked, pytest.raises(LedgerUnavailableError):
        send_people(PEOPLE, table_ledger(), settings, into=made)
    at, session = locks[0]
    assert time.monotonic() - at < 2 * DEFAULT_LIMIT_SECONDS
    session.close()
    check_counts(made[0], server)
    check_retry(database, server, settings)


def test_a_stop_is_heard_while_the_database_is_locked(
    server: Hostile, settings: Settings, database: LedgerDatabase
) -> None:
    made: list[BatchRun] = []
    told: list[float] = []
    locks: list[Any] = []

    def lock_and_stop() -> None:
        locks.append(hold_lock(database))
        time.sleep(0.3)
        told.append(time.monotonic())

    stopping = when_reached(server, 100, lock_and_stop)
    with stopping, pytest.raises((StoppedError, LedgerUnavailableError)):
        send_people(PEOPLE, table_ledger(stopped=lambda: bool(told)), settings, lambda: bool(told), into=made)
    assert time.monotonic() - told[0] < 4
    locks[0].close()
    check_counts(made[0], server)
    # What was given up may still have been committed once the lock was gone.
    eventually(lambda: False, within=0.5)
    check_retry(database, server, settings)


def test_a_stop_is_heard_while_the_database_does_not_answer(
    server: Hostile, settings: Settings, wire: Wire, postgres_database: LedgerDatabase
) -> None:
    made: list[BatchRun] = []
    told: list[float] = []

    def hang_and_stop() -> None:
        wire.hang()
        time.sleep(0.3)
        told.append(time.monotonic())

    stopping = when_reached(server, 100, hang_and_stop)
    with stopping, pytest.raises((StoppedError, LedgerUnavailableError)):
        send_people(PEOPLE, table_ledger(stopped=lambda: bool(told)), settings, lambda: bool(told), into=made)
    assert time.monotonic() - told[0] < 4
    check_counts(made[0], server)
    wire.go_on()
    wire.cut()
    time.sleep(0.5)
    check_retry(postgres_database, server, settings)


def test_a_full_disk_of_the_server_stops_the_batch(
    server: Hostile, settings: Settings, postgres_database: LedgerDatabase
) -> None:
    made: list[BatchRun] = []
    full = (
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;"
        "CREATE TRIGGER full_disk BEFORE INSERT ON intercom_messages EXECUTE FUNCTION full_disk()"
    )
    filling = when_reached(server, 100, lambda: postgres_database.execute(full))
    with filling, pytest.raises(LedgerUnavailableError, match="No space left on device"):
        send_people(PEOPLE, table_ledger(), settings, into=made)
    check_counts(made[0], server)
    postgres_database.execute("DROP TRIGGER full_disk ON intercom_messages")
    # Recording results needs no new row, so all of them are known.
    assert check_retry(postgres_database, server, settings)["unconfirmed"] == 0


def _send_on_a_full_disk(settings: Settings, connection: str, report: Connection) -> None:
    os.environ["AIRFLOW_CONN_LEDGER"] = connection
    # Python ignores the signal, so that writing fails as on a disk that is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_AFTER_BYTES, FULL_AFTER_BYTES))
    try:
        send_people(PEOPLE, table_ledger(), settings)
    except LedgerUnavailableError as error:
        report.send(str(error))


def test_a_full_disk_of_this_machine_stops_the_batch(server: Hostile, settings: Settings, tmp_path: Path) -> None:
    database = LedgerDatabase({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}, tmp_path / "ledger.db")
    with pytest.MonkeyPatch.context() as patch:
        connect_ledger(patch, database)
        answer, report = _PROCESSES.Pipe(duplex=False)
        process = _PROCESSES.Process(
            target=_send_on_a_full_disk, args=(settings, json.dumps(database.connection), report), daemon=True
        )
        process.start()
        assert answer.poll(60)
        assert "the ledger's database (connection ledger) failed: OperationalError" in answer.recv()
        process.join(30)
        assert 0 < len(people_of(server)) < len(PEOPLE)
        assert check_retry(database, server, settings)["sent"]


@pytest.mark.parametrize("hours", [1, -1])
def test_leases_go_by_the_clock_of_the_database(
    server: Hostile, settings: Settings, postgres_database: LedgerDatabase, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    postgres_database.execute(
        "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
        f"$$ SELECT pg_catalog.clock_timestamp() + interval '{hours} hours' $$"
    )
    connect_ledger(monkeypatch, postgres_database, extra={"options": "-c search_path=public,pg_catalog"})
    first, second = table_ledger("first"), table_ledger("second")
    for each in (first, second):
        each.begin_try()
    held: list[bool] = []
    digests = _digests(first, settings)

    def look() -> None:
        second.look_up(digests)
        held.extend(entry.lease_runs for entry in map(second.find, digests) if entry and entry.state == "claimed")

    with when_reached(server, 50, look):
        assert send_people(PEOPLE, first, settings)["sent"] == len(PEOPLE)
    assert held
    assert all(held)
    assert not check_truth(postgres_database, server)
    assert send_people(PEOPLE, second, settings)["already_sent"] == len(PEOPLE)


def _digests(ledger: SqlLedger, settings: Settings) -> list[str]:
    with table_sender.batch_of(PEOPLE, ledger, settings) as batch:
        batch.check()
        return [item.digest for item in batch]


def test_a_lease_that_ends_while_its_request_is_under_way_repeats_nothing(
    server: Hostile, settings: Settings, database: LedgerDatabase
) -> None:
    server.always(hostile.late(1.0, created=True))
    second: list[dict[str, int]] = []

    def end_leases_and_send() -> None:
        database.execute("UPDATE intercom_messages SET lease_until = '2000-01-01 00:00:00.000000'")
        second.append(send_people(range(10), table_ledger("second"), settings))

    first: list[dict[str, int]] = []
    thread = threading.Thread(target=lambda: first.append(send_people(range(10), table_ledger("first"), settings)))
    thread.start()
    assert eventually(lambda: len(server.requests) >= 10, within=10)
    end_leases_and_send()
    thread.join()
    assert first[0]["sent"] == 10
    assert second[0]["claimed"]
    assert second[0]["claimed"] + second[0]["already_sent"] == 10
    assert people_of(server) == set(map(str, range(10)))
    assert not check_truth(database, server)


def test_nothing_more_is_begun_once_a_lease_cannot_be_renewed(
    server: Hostile, settings: Settings, wire: Wire, postgres_database: LedgerDatabase
) -> None:
    server.always(hostile.late(0.05, created=True))
    lease = Lease(seconds=2.0, renew_after=0.5, margin=1.0)
    ended: list[float] = []

    def hang() -> None:
        wire.hang()
        ended.append(time.time() + lease.seconds)

    made: list[BatchRun] = []
    with when_reached(server, 100, hang), pytest.raises(LedgerUnavailableError):
        send_people(PEOPLE, table_ledger(lease=lease), settings, into=made)
    assert max(request.time for request in server.requests) < ended[0]
    check_counts(made[0], server)
    wire.go_on()
    wire.cut()
    time.sleep(0.5)
    check_retry(postgres_database, server, settings)


def test_two_batches_in_opposite_order_share_one_list(
    server: Hostile, settings: Settings, database: LedgerDatabase
) -> None:
    counts: dict[str, dict[str, int]] = {}
    threads = [
        threading.Thread(
            target=lambda name=name, people=people: counts.update(
                {name: send_people(people, table_ledger(name), settings)}
            )
        )
        for name, people in {"up": PEOPLE, "down": PEOPLE[::-1]}.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert people_of(server) == set(map(str, PEOPLE))
    assert sum(each["sent"] for each in counts.values()) == len(PEOPLE)
    assert [sum(each.values()) for each in counts.values()] == [len(PEOPLE)] * 2
    assert not check_truth(database, server)


def test_a_deadlock_with_somebody_elses_transaction_costs_nothing(postgres_database: LedgerDatabase) -> None:
    ledger = table_ledger()
    ledger.begin_try()
    digests = ["a" * 24, "b" * 24]
    assert not ledger.commit({}, dict.fromkeys(digests, Intent("k", "inapp")))
    assert postgres_database.postgres
    with postgres_database.postgres.connect() as session:
        session.execute("BEGIN")
        session.execute("UPDATE intercom_messages SET replied_at = now() WHERE digest = %s", [digests[1]])
        recording = threading.Thread(target=ledger.commit, args=(dict.fromkeys(digests, Result("sent")), {}))
        recording.start()
        time.sleep(0.3)
        try:
            session.execute("UPDATE intercom_messages SET replied_at = now() WHERE digest = %s", [digests[0]])
            session.execute("COMMIT")
        except psycopg.errors.DeadlockDetected:
            session.execute("ROLLBACK")
        recording.join(10)
    assert postgres_database.execute("SELECT outcome FROM intercom_messages") == [("sent",), ("sent",)]
