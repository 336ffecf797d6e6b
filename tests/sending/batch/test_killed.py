"""Kill the process of a batch at random moments, and resume it: nobody gets two, and the unconfirmed are named."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import psutil  # type: ignore[import-untyped]  # Airflow brings it, without types

from intercom_provider.api.settings import Settings
from intercom_provider.ledger.task_state import MAX_OPEN_INTENTS
from tests.support import batch_sender as sender
from tests.support.hostile import TOKEN, Hostile

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

MESSAGES: Final = 5_000
KILLS: Final = 10
SEED: Final = 4
MOST_UNCONFIRMED: Final = MAX_OPEN_INTENTS

# Each try starts in milliseconds, from a process without threads that has imported everything.
_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([sender.__name__])


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
