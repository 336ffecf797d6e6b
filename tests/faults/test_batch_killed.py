"""Kill the process of a batch at random moments, and resume it: nobody gets two, and the unconfirmed are named."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import psutil  # type: ignore[import-untyped]  # Airflow brings it, without types

from intercom_provider.api.settings import Settings
from intercom_provider.ledger.sql import MAX_WAITING_CLAIMS
from intercom_provider.ledger.task_state import MAX_OPEN_INTENTS
from tests.support import batch_sender as sender
from tests.support import table_sender
from tests.support.hostile import TOKEN, Hostile

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

    from tests.support.databases import LedgerDatabase

MESSAGES: Final = 5_000
KILLS: Final = 10
SEED: Final = 4
MOST_UNCONFIRMED: Final = MAX_OPEN_INTENTS
MOST_CLAIMED: Final = table_sender.THREADS + MAX_WAITING_CLAIMS

# Each try starts in milliseconds, from a process without threads that has imported everything.
_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([sender.__name__, table_sender.__name__])


def start(people: int, attempt: int, settings: Settings, store: Path) -> tuple[ForkServerProcess, Connection]:
    """Start a try, whose counts come out of a pipe."""
    counts, report = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=sender.send, args=(people, attempt, settings, store, report), daemon=True)
    process.start()
    report.close()
    return process, counts


def end(started: tuple[ForkServerProcess, Connection]) -> dict[str, int]:
    """Wait for the end of a try, and return its counts; none where it failed."""
    process, counts = started
    process.join(60)
    return counts.recv() if process.exitcode == 0 else {}


def until_reached(server: Hostile, number: int) -> None:
    deadline = time.monotonic() + 60
    while len(server.created) < number:
        assert time.monotonic() < deadline, f"{len(server.created)} were reached within a minute"
        time.sleep(0.002)


def left(attempt: int, store: Path) -> tuple[set[str], set[str]]:
    """Read the digests in the ledger: those of sent messages, and those of messages without a result."""
    entries = sender.ledger_of(attempt, sender.Disk(store)).entries()
    sent = {name for name, entry in entries.items() if entry.state == "sent"}
    return sent, entries.keys() - sent


def test_a_batch_killed_ten_times_messages_nobody_twice_and_counts_the_unconfirmed(tmp_path: Path) -> None:
    moments = random.Random(SEED)  # noqa: S311 - no secret
    # How many messages each kill comes after, all of which are reached for certain; the first hits the first write.
    after = [0, *sorted(moments.sample(range(MESSAGES - KILLS * MOST_UNCONFIRMED), KILLS - 1))]
    store = tmp_path / "store"
    with Hostile() as server:
        settings = Settings(token=TOKEN, base_url=server.url)
        person = sender.people_by_digest(MESSAGES, settings)
        unconfirmed: set[str] = set()
        for attempt, number in enumerate(after, start=1):
            process, _ = start(MESSAGES, attempt, settings, store)
            until_reached(server, number)
            time.sleep(moments.uniform(0, 0.03))
            process.kill()
            process.join()
            sent, unknown = left(attempt, store)
            reached = {message["to"]["id"] for message in server.created}
            which = f"kill {attempt}, after {number} messages, of seed {SEED}"
            assert {person[name] for name in sent} <= reached <= {person[name] for name in sent | unknown}, which
            assert unconfirmed <= unknown, which
            assert len(unknown - unconfirmed) <= MOST_UNCONFIRMED, which
            unconfirmed = unknown

        counts = end(start(MESSAGES, KILLS + 1, settings, store))

    times = Counter(message["to"]["id"] for message in server.created)
    assert set(times.values()) == {1}
    assert times.keys() >= set(person.values()) - {person[name] for name in unconfirmed}
    assert unconfirmed
    assert counts["unconfirmed"] == len(unconfirmed)
    assert sum(counts.values()) == MESSAGES


def table_rows(database: LedgerDatabase) -> dict[str | None, set[str]]:
    """Read the keys of the messages in the table by their outcome; those that are claimed have none."""
    found: dict[str | None, set[str]] = {}
    for key, outcome in database.execute("SELECT key, outcome FROM intercom_messages"):
        found.setdefault(outcome, set()).add(key)
    return found


def start_with_table(
    people: range, dag: str, number: int, settings: Settings, database: LedgerDatabase
) -> tuple[ForkServerProcess, Connection]:
    """Start a try whose ledger is in a table."""
    counts, report = _PROCESSES.Pipe(duplex=False)
    arguments = (people, dag, number, settings, json.dumps(database.connection), report)
    process = _PROCESSES.Process(target=table_sender.send, args=arguments, daemon=True)
    process.start()
    report.close()
    return process, counts


def test_with_a_table_a_kill_leaves_the_requests_begun_and_few_more(database: LedgerDatabase) -> None:
    moments, kills, people = random.Random(SEED), KILLS, range(MESSAGES)  # noqa: S311 - no secret
    after = sorted(moments.sample(range(1, len(people) - kills * MOST_CLAIMED), kills))
    with Hostile() as server:
        settings = Settings(token=TOKEN, base_url=server.url)
        unconfirmed: set[str] = set()
        for number, messages in enumerate(after, start=1):
            process, _ = start_with_table(people, "dag", number, settings, database)
            until_reached(server, messages)
            time.sleep(moments.uniform(0, 0.03))
            process.kill()
            process.join()
            rows = table_rows(database)
            open_claims, reached = rows.get(None, set()), {message["to"]["id"] for message in server.created}
            which = f"kill {number}, after {messages} messages, of seed {SEED}"
            assert len(open_claims) <= MOST_CLAIMED, which
            assert rows.get("sent", set()) <= reached, which
            assert reached <= rows.get("sent", set()) | rows.get("unconfirmed", set()) | open_claims, which
            unconfirmed |= open_claims

        counts = end(start_with_table(people, "dag", kills + 1, settings, database))
        other = end(start_with_table(people, "another dag", 1, settings, database))

    times = Counter(message["to"]["id"] for message in server.created)
    assert set(times.values()) == {1}
    assert times.keys() >= set(map(str, people)) - unconfirmed
    assert unconfirmed
    assert counts["unconfirmed"] == other["claimed"] == len(unconfirmed)
    assert other["already_sent"] == counts["sent"] + counts["already_sent"] == len(people) - len(unconfirmed)


def test_three_processes_of_one_campaign_one_of_them_killed_message_nobody_twice(database: LedgerDatabase) -> None:
    thirds = {"a": range(1_500), "b": range(750, 2_250), "c": range(1_500, 3_000)}
    with Hostile() as server:
        settings = Settings(token=TOKEN, base_url=server.url)
        started = {dag: start_with_table(people, dag, 1, settings, database) for dag, people in thirds.items()}
        until_reached(server, 800)
        started["b"][0].kill()
        counts = {dag: end(each) for dag, each in started.items() if dag != "b"}
        started["b"][0].join()
        counts["b"] = end(start_with_table(thirds["b"], "b", 2, settings, database))
        again = {dag: end(start_with_table(people, dag, 2, settings, database)) for dag, people in thirds.items()}

    times = Counter(message["to"]["id"] for message in server.created)
    assert set(times.values()) == {1}
    rows = table_rows(database)
    assert rows.keys() <= {"sent", "unconfirmed"}
    unconfirmed = rows.get("unconfirmed", set())
    assert len(unconfirmed) <= MOST_CLAIMED
    assert rows["sent"] <= times.keys() <= rows["sent"] | unconfirmed
    assert rows["sent"] | unconfirmed == set(map(str, range(3_000)))
    for dag, people in thirds.items():
        own = set(map(str, people))
        assert sum(counts[dag].values()) == len(people)
        assert again[dag]["already_sent"] == len(own & rows["sent"])
        assert again[dag]["claimed" if dag != "b" else "unconfirmed"] == len(own & unconfirmed)


def test_a_process_that_sleeps_while_another_takes_over_messages_nobody_twice(tmp_path: Path) -> None:
    moments, people = random.Random(SEED), 600  # noqa: S311 - no secret
    for number in sorted(moments.sample(range(people // 2), 3)):
        store = tmp_path / str(number)
        with Hostile() as server:
            settings = Settings(token=TOKEN, base_url=server.url)
            first = start(people, 1, settings, store)
            asleep = psutil.Process(first[0].pid)
            until_reached(server, number)
            time.sleep(moments.uniform(0, 0.03))
            asleep.suspend()
            counts = end(start(people, 2, settings, store))
            asleep.resume()
            assert end(first) == {}
            times = Counter(message["to"]["id"] for message in server.created)
        which = f"stopped after {number} messages, of seed {SEED}"
        assert sum(counts.values()) == people, which
        assert set(times.values()) == {1}, which
        assert len(times) >= people - counts["unconfirmed"], which
        assert 0 < counts["unconfirmed"] <= MOST_UNCONFIRMED, which
