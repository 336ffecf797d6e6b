"""A run of a batch without Airflow: the requests, the counts, the results, and the ledger that a retry finds."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.errors import RateLimitedError, StoppedError, UnauthorizedError, UnreachableError
from intercom_provider.api.settings import Settings
from intercom_provider.ledger.ledger import Attempt, Ledger, SupersededError
from intercom_provider.ledger.stateless import StatelessLedger
from intercom_provider.ledger.task_state import MAX_OPEN_INTENTS
from intercom_provider.ledger.task_state_batch import BatchLedger
from intercom_provider.results.reader import TryResults
from intercom_provider.results.writer import ResultsWriter
from intercom_provider.sending.batch.counts import COUNT_NAMES
from intercom_provider.sending.batch.input import BatchInput
from intercom_provider.sending.batch.recorder import STOPPED_BEFORE
from intercom_provider.sending.batch.run import BatchRun
from intercom_provider.sending.batch.threads import MAX_CONSECUTIVE_UNANSWERED
from intercom_provider.sending.options import SendOptions
from tests.support import hostile
from tests.support.hostile import Hostile
from tests.support.stores import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[Hostile]:
    with Hostile() as server:
        yield server


class Counting(Store):
    """Records the highest number of intents without a result."""

    most = 0

    def set(self, key: str, value: Any) -> None:
        super().set(key, value)
        self.most = max(self.most, len(value["intents"]) if key.count("/") > 2 else 0)


def people(number: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"to": {"type": "user", "id": f"{index}"}, "key": f"k{index}"} for index in range(start, start + number)]


DEFAULTS = {"message_type": "in_app", "body": "Hello", "from_admin_id": "1"}

# The first write intends so many messages: no more can be under way when the first refusal is read.
FIRST_INTENTS = 20


def run(
    server: Hostile,
    messages: list[dict[str, Any]],
    store: Store | None = None,
    *,
    attempt: int = 1,
    stopped: Any = lambda: False,
    timeout: float = 5.0,
    token: str = hostile.TOKEN,
    url: str | None = None,
    results: ResultsWriter | None = None,
    into: list[BatchRun] | None = None,
    **options: Any,
) -> BatchRun:
    settings = Settings(token=token, base_url=url or server.url, timeout=timeout)
    with BatchInput(messages, DEFAULTS, duplicates="skip", salt="run", settings=settings) as batch:
        total = batch.check()
        this = Attempt(number=attempt, max_tries=2, retries=2)
        ledger: Ledger = StatelessLedger(this) if store is None else BatchLedger(store, this)
        ledger.begin_try()
        made = BatchRun(
            batch,
            total,
            settings=settings,
            options=SendOptions(**{"concurrency": 10, **options}),
            ledger=ledger,
            results=results or ResultsWriter(None, attempt),
            stopped=stopped,
        )
        if into is not None:
            into.append(made)
        made.run()
        return made


def total_of(made: BatchRun) -> int:
    return sum(getattr(made.counts, name) for name in COUNT_NAMES)


def lines_of(results: ResultsWriter) -> list[dict[str, Any]]:
    parts = sorted(Path(str(results.folder)).glob("*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def reached(server: Hostile) -> list[str]:
    return sorted((created["to"]["id"] for created in server.created), key=int)


def ids(number: int) -> list[str]:
    return [str(index) for index in range(number)]


def test_every_message_is_sent_once_and_counted(server: Hostile) -> None:
    made = run(server, people(250), Store())
    assert reached(server) == ids(250)
    assert (made.counts.total, made.counts.sent, made.counts.done) == (250, 250, 250)


def test_a_second_run_sends_only_what_is_new_in_whatever_order_the_list_comes(server: Hostile) -> None:
    store = Store()
    run(server, people(120), store)
    again = run(server, list(reversed(people(150))), store, attempt=2)
    assert reached(server) == ids(150)
    assert (again.counts.sent, again.counts.already_sent, again.counts.done) == (30, 120, 150)


def test_a_reply_that_is_lost_costs_one_message_its_certainty_and_no_other_anything(server: Hostile) -> None:
    store = Store()
    server.script(hostile.drop(created=True), hostile.error(500, "server_error"))
    made = run(server, people(60), store)
    assert (made.counts.sent, made.counts.unconfirmed, made.counts.rejected) == (58, 2, 0)
    again = run(server, people(60), store, attempt=2)
    assert (again.counts.sent, again.counts.already_sent, again.counts.unconfirmed) == (0, 58, 2)
    assert len(set(reached(server))) == len(reached(server)) == 59
    resent = run(server, people(60), store, attempt=3, on_unconfirmed="resend")
    assert (resent.counts.sent, resent.counts.already_sent) == (2, 58)
    last = run(server, people(60), store, attempt=4)
    assert last.counts.already_sent == 60


def test_what_was_refused_is_tried_again_by_a_retry(server: Hostile) -> None:
    store = Store()
    server.script(*[hostile.error(422, "parameter_invalid", "Body is required")] * 3)
    made = run(server, people(40), store)
    assert (made.counts.sent, made.counts.rejected, made.counts.transient) == (37, 3, 0)
    assert list(made.counts.reasons.values()) == [3]
    again = run(server, people(40), store, attempt=2)
    assert (again.counts.sent, again.counts.already_sent) == (3, 37)
    assert reached(server) == ids(40)


def test_contacts_that_are_not_there_yet_hold_nobody_else_up(server: Hostile) -> None:
    server.script(*[hostile.error(404, "not_found", "no")] * 10)
    began = time.monotonic()
    made = run(server, people(60), Store(), concurrency=2, contact_wait=20)
    assert made.counts.sent == 60
    assert time.monotonic() - began < 8
    missing = {request.json["to"]["id"] for request in server.requests[:10]}
    assert {created["to"]["id"] for created in server.created[:50]} == set(ids(60)) - missing


def test_a_contact_that_never_comes_is_rejected_and_may_come_with_a_retry(server: Hostile) -> None:
    store = Store()
    server.script(*[hostile.error(404, "not_found", "no")] * 3)
    made = run(server, people(3), store, contact_wait=0)
    assert (made.counts.rejected, made.counts.transient) == (3, 3)
    assert run(server, people(3), store, attempt=2).counts.sent == 3


def test_a_wrong_token_stops_the_batch_at_once(server: Hostile) -> None:
    store = Store()
    server.script(*[hostile.error(401, "token_unauthorized", "no")] * 500)
    made = run(server, people(500), store)
    assert isinstance(made.fatal, UnauthorizedError)
    assert len(server.requests) <= FIRST_INTENTS
    assert made.counts.rejected == len(server.requests)
    assert made.counts.not_sent == 500 - len(server.requests)
    server.reset()
    again = run(server, people(500), store, attempt=2)
    assert again.counts.sent == 500


def test_a_limit_that_stays_closed_for_long_stops_the_batch_at_once(server: Hostile) -> None:
    store = Store()
    server.script(*[hostile.rate_limited(retry_after="3600")] * 60)
    made = run(server, people(60), store)
    assert isinstance(made.fatal, RateLimitedError)
    assert made.fatal.retry_at == pytest.approx(time.time() + 3_600, abs=10)
    assert len(server.requests) <= FIRST_INTENTS
    assert (made.counts.not_sent, made.counts.rejected, made.counts.transient) == (60, 0, 60)
    server.reset()
    assert run(server, people(60), store, attempt=2).counts.sent == 60


def test_a_batch_that_an_error_stops_writes_a_line_for_every_message(server: Hostile, tmp_path: Path) -> None:
    store = Store()
    run(server, people(50), store)
    server.always(hostile.error(401, "token_unauthorized", "no"))
    results = ResultsWriter(str(tmp_path), 2)
    repeated = [*people(3), {"to": {"type": "user", "id": "${id}"}, "params": {}}]
    messages = [*people(400), *people(50), *repeated]
    made = run(server, list(reversed(messages)), store, attempt=2, results=results)
    assert total_of(made) == len(messages)
    assert (made.counts.already_sent, made.counts.sent) == (50, 0)
    lines = lines_of(results)
    assert sorted(line["index"] for line in lines) == list(range(len(messages)))
    rest = [line for line in lines if line["reason"] == STOPPED_BEFORE]
    assert {line["outcome"] for line in rest} == {"not_sent"}
    assert len(rest) >= 300
    assert "params.id is missing" in {line["reason"] for line in lines}
    assert TryResults.of_try(str(tmp_path), 2, len(messages)).is_complete()


def test_a_stop_of_the_task_counts_the_rest_without_reading_it(server: Hostile, tmp_path: Path) -> None:
    results = ResultsWriter(str(tmp_path), 1)
    counted: list[BatchRun] = []
    with pytest.raises(StoppedError):
        run(server, people(20_000), results=results, stopped=lambda: len(server.created) >= 50, into=counted)
    (made,) = counted
    assert total_of(made) == 20_000
    assert made.counts.sent == len(server.created)
    assert made.counts.not_sent == 20_000 - len(server.created)
    assert made.counts.reasons[STOPPED_BEFORE] == made.counts.not_sent
    assert len(lines_of(results)) < 1_000
    assert TryResults.of_try(str(tmp_path), 1, None).is_complete()


@pytest.mark.usefixtures("short_pauses")
def test_messages_that_the_rate_limit_never_lets_through_are_not_sent_and_a_retry_sends_them(server: Hostile) -> None:
    store = Store()
    server.always(hostile.rate_limited(retry_after="0"))
    made = run(server, people(3), store)
    assert (made.counts.not_sent, made.counts.rejected, made.counts.transient) == (3, 0, 3)
    assert made.fatal is None
    server.reset()
    assert run(server, people(3), store, attempt=2).counts.sent == 3


def test_messages_whose_answers_are_not_waited_for_are_unconfirmed(server: Hostile) -> None:
    store = Store()
    server.always(hostile.late(2, created=True))
    counted: list[BatchRun] = []
    store.fail_after = 3
    with pytest.raises(ConnectionError):
        run(server, people(100), store, concurrency=30, into=counted)
    (made,) = counted
    assert made.counts.unconfirmed > 0
    assert made.counts.unconfirmed + made.counts.not_sent == 100


def test_the_first_positions_of_a_reason_are_kept(server: Hostile) -> None:
    server.script(*[hostile.error(422, "parameter_invalid", "no")] * 5)
    made = run(server, people(20), concurrency=1)
    assert list(made.counts.first_numbers.values()) == [[0, 1, 2]]


def test_a_server_that_breaks_for_good_costs_a_bounded_number_of_messages_their_certainty(server: Hostile) -> None:
    store = Store()
    server.script(*[hostile.error(500, "server_error")] * 2_000)
    made = run(server, people(2_000), store)
    assert isinstance(made.fatal, UnreachableError)
    assert made.counts.not_sent == 2_000 - made.counts.unconfirmed
    assert MAX_CONSECUTIVE_UNANSWERED <= made.counts.unconfirmed <= MAX_CONSECUTIVE_UNANSWERED + 10
    assert len(server.requests) <= MAX_CONSECUTIVE_UNANSWERED + 10


def test_an_outage_of_a_moment_is_waited_out_by_the_messages_that_met_it(server: Hostile) -> None:
    # More than one message alone would bear.
    server.script(*[hostile.rate_limited(retry_after="0")] * 8)
    made = run(server, people(100), Store())
    assert made.counts.sent == 100
    assert reached(server) == ids(100)


def test_after_not_after_every_message_is_expired(server: Hostile) -> None:
    made = run(server, people(30), Store(), not_after=time.time() - 1)
    assert (made.counts.expired, made.counts.sent, server.requests) == (30, 0, [])


def test_a_stop_withdraws_the_intents_of_messages_that_were_not_sent(server: Hostile) -> None:
    store = Store()
    with pytest.raises(StoppedError):
        run(server, people(5_000), store, stopped=lambda: len(server.created) >= 150)
    sent = len(server.created)
    assert 150 <= sent <= 250
    again = run(server, people(5_000)[:1_000], store, attempt=2)
    assert (again.counts.unconfirmed, again.counts.already_sent) == (0, sent)
    assert reached(server) == ids(1_000)


def test_where_an_intent_cannot_be_written_nothing_is_sent(server: Hostile) -> None:
    store = Store()
    store.fail_after = 1
    with pytest.raises(ConnectionError):
        run(server, people(10), store)
    assert server.requests == []


def test_a_ledger_that_breaks_on_the_way_leaves_no_more_unconfirmed_than_a_killed_worker_does(server: Hostile) -> None:
    store = Store()
    store.fail_after = 8
    counted: list[BatchRun] = []
    with pytest.raises(ConnectionError):
        run(server, people(2_000), store, into=counted)
    assert total_of(counted[0]) == 2_000
    store.fail_after = None
    again = run(server, people(2_000), store, attempt=2)
    assert again.counts.unconfirmed <= MAX_OPEN_INTENTS
    assert len(set(reached(server))) == len(reached(server))
    assert again.counts.sent + again.counts.already_sent + again.counts.unconfirmed == 2_000


def test_intents_without_a_result_are_bounded_at_every_moment(server: Hostile) -> None:
    store = Counting()
    run(server, people(1_000), store)
    assert 10 < store.most <= MAX_OPEN_INTENTS


def test_a_time_out_that_strikes_while_the_ledger_is_written_leaves_nothing_unconfirmed(server: Hostile) -> None:
    class StruckError(BaseException):
        """Airflow's time-out is no Exception, and strikes anywhere."""

    class StruckStore(Store):
        timed_out = False

        def get(self, key: str) -> Any:
            if len(self.sets) == 6 and not self.timed_out:
                self.timed_out = True
                raise StruckError
            return super().get(key)

    store = StruckStore()
    with pytest.raises(StruckError):
        run(server, people(2_000), store)
    again = run(server, people(2_000), store, attempt=2)
    assert again.counts.unconfirmed == 0
    assert reached(server) == ids(2_000)


def test_unconfirmed_messages_with_the_same_reason_are_counted_together(server: Hostile) -> None:
    server.script(*[hostile.error(500, "server_error", request_id=f"req-{number}") for number in range(5)])
    made = run(server, people(10), Store())
    assert list(made.counts.reasons.items()) == [
        ("it may have been sent or not: Intercom answered 500 server_error to POST /messages", 5)
    ]


def test_where_no_thread_can_be_started_the_batch_fails_and_nothing_is_unconfirmed(server: Hostile) -> None:
    store = Store()
    with pytest.raises(UnicodeEncodeError):
        run(server, people(300), store, token="not for a header: \N{SNOWMAN}")
    assert server.requests == []
    again = run(server, people(300), store, attempt=2)
    assert (again.counts.sent, again.counts.unconfirmed) == (300, 0)


def test_a_proxy_that_can_not_be_used_stops_the_batch_before_anything_is_sent(
    server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://proxy")
    made = run(server, people(300), store, url="https://intercom.test")
    assert "HTTPS_PROXY" in str(made.fatal)
    assert (made.counts.sent, made.counts.unconfirmed) == (0, 0)
    assert run(server, people(300), store, attempt=2).counts.sent == 300


def test_a_machine_that_gives_no_more_threads_has_the_batch_sent_by_those_there_are(
    server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def stingy(thread: threading.Thread) -> None:
        if thread.name == "intercom-sender-3":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", stingy)
    assert run(server, people(200), Store()).counts.sent == 200


def test_at_a_slow_pace_fewer_intents_are_written_ahead(server: Hostile) -> None:
    store = Counting()
    server.always(hostile.late(0.1, created=True))
    made = run(server, people(80), store, concurrency=2)
    assert made.counts.sent == 80
    assert store.most <= 2 + MAX_OPEN_INTENTS / 2


def test_a_worker_that_was_given_up_for_dead_stops_when_the_next_attempt_begins(server: Hostile) -> None:
    store = Store()

    def overtaken() -> bool:
        if len(server.created) >= 200 and not overtaken.done:  # type: ignore[attr-defined]
            overtaken.done = True  # type: ignore[attr-defined]
            BatchLedger(store, Attempt(number=2, max_tries=2, retries=2)).begin_try()
        return False

    overtaken.done = False  # type: ignore[attr-defined]
    with pytest.raises(SupersededError):
        run(server, people(3_000), store, stopped=overtaken)
    assert len(server.created) <= 200 + 2 * MAX_OPEN_INTENTS


def test_the_same_person_twice_is_messaged_once(server: Hostile) -> None:
    twice = [{"to": {"type": "user", "id": "7"}}, *people(3), {"to": {"type": "user", "id": "7"}}]
    made = run(server, twice, Store())
    assert (made.counts.sent, made.counts.duplicates, made.counts.done) == (4, 1, 5)
    assert reached(server) == ["0", "1", "2", "7"]


def test_the_log_shows_the_progress_and_no_address(server: Hostile, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    mails = [{"to": {"type": "user", "email": f"{index}@example.com"}} for index in range(5)]
    run(server, mails, Store())
    assert "5 of 5: 5 sent" in caplog.text
    assert "example.com" not in caplog.text


def test_a_dry_run_sends_and_records_nothing(server: Hostile) -> None:
    settings = Settings(token=hostile.TOKEN, base_url=server.url, dry_run=True)
    with BatchInput(people(5), DEFAULTS, duplicates="skip", salt="run", settings=settings) as batch:
        ledger = StatelessLedger(Attempt(number=2, max_tries=2, retries=2))
        options = SendOptions(concurrency=2)
        made = BatchRun(
            batch, batch.check(), settings=settings, options=options, ledger=ledger, results=ResultsWriter(None, 1)
        )
        made.run()
    assert (made.counts.dry_run, made.counts.done, server.requests) == (5, 5, [])
