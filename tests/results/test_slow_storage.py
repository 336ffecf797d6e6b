"""Storage that is slow or hangs holds neither the sending nor a stop, and the results say what was lost."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.errors import StoppedError
from intercom_provider.ledger.ledger import Attempt
from intercom_provider.ledger.stateless import StatelessLedger
from intercom_provider.results.reader import Owner, TryResults
from intercom_provider.results.writer import MAX_WAITING_LINES, ResultsWriter, StoragePatience
from intercom_provider.sending.batch.input import BatchInput
from intercom_provider.sending.batch.run import BatchRun
from intercom_provider.sending.options import SendOptions
from tests.support.drivers import settings_for
from tests.support.eventually import until
from tests.support.storage import HangingStorage, hanging_storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.hostile import Hostile

MESSAGE = {"message_type": "in_app", "body": "Hello", "from_admin_id": "1"}


@pytest.fixture
def storage() -> Iterator[HangingStorage]:
    with hanging_storage() as storage:
        yield storage


def batch(server: Hostile, number: int, results: ResultsWriter, stopped: Any = lambda: False) -> BatchRun:
    settings = settings_for(server.url)
    people = [{"to": {"type": "user", "id": f"{index}"}} for index in range(number)]
    given = BatchInput(people, MESSAGE, duplicates="skip", salt="", settings=settings)
    return BatchRun(
        given,
        given.check(),
        settings=settings,
        options=SendOptions(concurrency=8),
        ledger=StatelessLedger(Attempt(1, 0, 0)),
        results=results,
        stopped=stopped,
    )


def test_messages_go_out_while_the_storage_hangs_and_the_results_are_whole_when_it_answers(
    server: Hostile, storage: HangingStorage
) -> None:
    results = ResultsWriter(storage.path, 1, part_lines=20)
    results.open()
    storage.hang()

    def mend() -> None:
        storage.asked.wait(60)
        while len(server.created) < 200:
            time.sleep(0.01)
        storage.answers.set()

    mending = threading.Thread(target=mend)
    mending.start()
    counts = batch(server, 200, results).run()
    mending.join()
    assert (counts.sent, results.failed) == (200, False)
    read = TryResults.of_try(storage.path, 1, 200)
    assert sorted(line.index or 0 for line in read.lines()) == list(range(200))
    assert read.is_complete()


def test_storage_that_never_answers_is_not_waited_for_longer_than_its_limit(
    server: Hostile, storage: HangingStorage, caplog: pytest.LogCaptureFixture
) -> None:
    results = ResultsWriter(storage.path, 1, part_lines=20, patience=StoragePatience(close=1))
    results.open()
    storage.hang()
    counts = batch(server, 50, results).run()
    assert (counts.sent, results.failed) == (50, True)
    assert f"50 results could not be written to {storage.path}: the storage does not answer" in caplog.text
    storage.answers.set()
    late = TryResults.of_try(storage.path, 1, None)
    until(lambda: sum(1 for _ in late.lines()) == 50, "the lines that came through later")
    # What came through later is there, but the try has no end: the task has said that results are missing.
    assert not TryResults.of_try(storage.path, 1, 50).is_complete()


def test_a_stop_is_heard_although_the_storage_hangs(server: Hostile, storage: HangingStorage) -> None:
    results = ResultsWriter(storage.path, 1, part_lines=5, patience=StoragePatience(stopped=0.2))
    results.open()
    storage.hang()
    stopped_at: list[float] = []

    def stopped() -> bool:
        if not stopped_at and storage.asked.is_set() and len(server.created) >= 30:
            stopped_at.append(time.monotonic())
        return bool(stopped_at)

    with pytest.raises(StoppedError):
        batch(server, 5_000, results, stopped).run()
    # Without the limits it would wait for two minutes.
    assert time.monotonic() - stopped_at[0] < 20
    assert results.failed


def test_what_waits_for_the_storage_is_bounded_and_what_is_lost_is_told(
    storage: HangingStorage, caplog: pytest.LogCaptureFixture
) -> None:
    results = ResultsWriter(storage.path, 1, patience=StoragePatience(close=0.2))
    results.open()
    storage.hang()
    for index in range(MAX_WAITING_LINES + 20_000):
        results.add({"index": index})
    assert results.failed
    assert caplog.text.count("10,000 results could not be written") == 2
    assert "the storage does not keep up" in caplog.text
    results.close()


def test_a_warning_says_what_is_waited_for(storage: HangingStorage, caplog: pytest.LogCaptureFixture) -> None:
    results = ResultsWriter(storage.path, 1, part_lines=1, patience=StoragePatience(slow=0.05, close=0.5))
    results.open()
    storage.hang()
    with caplog.at_level(logging.WARNING):
        results.add({"index": 0})
        results.close()
    assert caplog.text.count("The sending goes on, but the storage of results_path has taken") == 1


def test_a_try_that_another_has_begun_is_not_taken(storage: HangingStorage) -> None:
    owner = Owner("welcome", "manual", "send", -1)
    first, second = ResultsWriter(storage.path, 1, owner), ResultsWriter(storage.path, 1, owner)
    first.open()
    second.open()
    assert (first.try_number, second.try_number) == (1, 2)
    for results, id_ in ((second, "b"), (first, "a")):
        results.add({"index": 0, "outcome": "sent", "id": id_})
        results.close()
    assert [line.id for line in TryResults.of_try(storage.path, 1, 1).lines()] == ["a"]
    assert TryResults.of_try(storage.path, 2, 1).owner() == owner
    assert storage.answers.is_set()
