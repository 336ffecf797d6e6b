"""The messages of a batch go out in the window of the person whom they are for, and the others wait."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.settings import Settings
from intercom_provider.ledger.ledger import Attempt
from intercom_provider.ledger.stateless import StatelessLedger
from intercom_provider.ledger.task_state_batch import BatchLedger
from intercom_provider.results.reader import Owner
from intercom_provider.results.writer import ResultsWriter
from intercom_provider.sending.batch.counts import COUNT_NAMES
from intercom_provider.sending.batch.input import BatchInput
from intercom_provider.sending.batch.run import BatchRun
from intercom_provider.sending.batch.try_record import TryRecord
from intercom_provider.sending.batch.window import read_batch_window
from intercom_provider.sending.options import SendOptions
from tests.support import hostile
from tests.support.eventually import until
from tests.support.messages import in_app
from tests.support.stores import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hostile import Hostile


def local(seconds: float) -> str:
    """Return the local time in UTC in so many seconds."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).time().isoformat(timespec="seconds")


def people(*zones: str | None) -> list[dict[str, Any]]:
    return [in_app(to={"type": "user", "id": str(n)}, timezone=zone, key=n) for n, zone in enumerate(zones)]


def run(
    server: Hostile,
    messages: list[dict[str, Any]],
    hours: tuple[str, str],
    *,
    record: TryRecord | None = None,
    store: Store | None = None,
    results: ResultsWriter | None = None,
    attempt: int = 1,
    stopped: Any = lambda: False,
    **options: Any,
) -> BatchRun:
    """Run one leg; the record that it goes on from is filled."""
    settings = Settings(token=hostile.TOKEN, base_url=server.url, admin_id=1)
    with BatchInput(messages, None, duplicates="skip", salt="run", settings=settings) as batch:
        total = batch.check()
        ledger = StatelessLedger() if store is None else BatchLedger(store, Attempt(attempt))
        ledger.begin_try()
        made = BatchRun(
            batch,
            total,
            settings=settings,
            options=SendOptions(**options),
            ledger=ledger,
            results=results or ResultsWriter(None, 1),
            stopped=stopped,
            window=read_batch_window(hours, "UTC"),
            record=record or TryRecord(total, batch.fingerprint),
        )
        made.run()
    return made


def reached(server: Hostile) -> list[int]:
    return sorted(int(created["to"]["id"]) for created in server.created)


def outcomes(made: BatchRun) -> dict[str, int]:
    return {name: count for name in COUNT_NAMES if (count := getattr(made.counts, name))}


def test_those_whose_window_is_open_are_sent_and_the_others_wait(server: Hostile) -> None:
    messages = people("UTC", "Etc/GMT-1", "Etc/GMT+1", None)
    made = run(server, messages, (local(-60), local(1_800)))
    assert (reached(server), outcomes(made), made.waiting) == ([0, 3], {"sent": 2}, 2)
    # One hour behind, the window opens in an hour; one hour ahead it has closed half an hour ago.
    assert made.opens_at is not None
    assert 3_500 < (made.opens_at - datetime.now(UTC)).total_seconds() < 3_600


def test_the_next_leg_goes_on_and_counts_the_whole_try(server: Hostile, tmp_path: Path) -> None:
    messages = [*people("UTC", "Etc/GMT-1", "UTC"), {**people("UTC")[0]}]
    hours = local(-60), local(1_800)
    owner = Owner("dag", "run", "task", -1)
    first_results = ResultsWriter(str(tmp_path), 1, owner)
    first_results.open()
    server.script(hostile.error(400, "parameter_invalid", "no"))
    record = begun(messages)
    first = run(server, messages, hours, results=first_results, record=record, concurrency=1)
    assert outcomes(first) == {"sent": 1, "rejected": 1, "duplicates": 1}
    kept = json.loads(json.dumps({"record": record.pack(), "results": first_results.suspend()}))
    assert not list(tmp_path.glob("*.end.json"))

    # A path that is made of the time renders to another one by now.
    results = ResultsWriter(str(tmp_path / "another"), 1, owner)
    results.resume(kept["results"])
    hours = local(3_600 - 60), local(3_600 + 1_800)
    second = run(server, messages, hours, record=unpacked(kept["record"], messages), results=results)
    assert outcomes(second) == {"sent": 2, "rejected": 1, "duplicates": 1}
    assert (second.opens_at, second.counts.first_numbers) == (None, first.counts.first_numbers)
    # Who was refused is not asked again in the same try.
    assert len(server.requests) == 3
    lines = [json.loads(line) for part in tmp_path.glob("*.jsonl") for line in part.read_text().splitlines()]
    assert sorted(line["index"] for line in lines) == [0, 1, 2, 3]
    assert json.loads((tmp_path / "try-1.end.json").read_text()) == {"parts": 2, "lines": 4}


def begun(messages: list[dict[str, Any]]) -> TryRecord:
    settings = Settings(token=hostile.TOKEN, admin_id=1)
    with BatchInput(messages, None, duplicates="skip", salt="run", settings=settings) as batch:
        return TryRecord(batch.check(), batch.fingerprint)


def unpacked(packed: str | None, messages: list[dict[str, Any]]) -> TryRecord:
    settings = Settings(token=hostile.TOKEN, admin_id=1)
    with BatchInput(messages, None, duplicates="skip", salt="run", settings=settings) as batch:
        total, record = batch.check(), TryRecord.unpack(packed)
        record.check_input(total, batch.fingerprint)
        return record


def test_an_input_that_has_changed_is_noticed(server: Hostile) -> None:
    messages = people("UTC", "Etc/GMT-1")
    record = begun(messages)
    made = run(server, messages, (local(-60), local(1_800)), record=record)
    packed = record.pack()
    assert unpacked(packed, messages).counts == made.counts
    for changed in (messages[:1], [*messages, *people("UTC")], messages[::-1]):
        with pytest.raises(ValueError, match="the input is another one now"):
            unpacked(packed, changed)
    for broken in (None, "", "x", packed[:-8], packed[4:]):
        with pytest.raises(ValueError, match="it cannot be read"):
            unpacked(broken, messages)


@pytest.mark.parametrize(
    "refusal",
    [hostile.error(404, "not_found", "User Not Found"), hostile.rate_limited(retry_after="6")],
    ids=["a contact that is missing", "a pause for the rate limit"],
)
def test_whose_turn_comes_after_the_window_has_closed_waits_for_the_next(server: Hostile, refusal: hostile.Act) -> None:
    store = Store()
    server.script(*[refusal] * 40)
    made = run(server, people("UTC", "UTC", "UTC"), (local(-60), local(4)), store=store, contact_wait=60)
    assert (reached(server), outcomes(made), made.waiting) == ([], {}, 3)
    assert made.opens_at is not None
    assert made.opens_at > datetime.now(UTC) + timedelta(hours=23)
    server.reset()
    # The intents are withdrawn: nobody is unconfirmed.
    again = run(server, people("UTC", "UTC", "UTC"), (local(-60), local(60)), store=store, attempt=2)
    assert outcomes(again) == {"sent": 3}


def test_a_message_whose_time_ends_before_its_window_opens_expires(server: Hostile) -> None:
    made = run(server, people("UTC", "Etc/GMT-1"), (local(-60), local(1_800)), not_after=time.time() + 1_800)
    assert (outcomes(made), made.opens_at) == ({"sent": 1, "expired": 1}, None)
    assert list(made.counts.reasons) == ["not_after comes before the window opens"]


def test_after_an_error_that_stops_the_batch_nobody_waits(server: Hostile) -> None:
    server.always(hostile.error(401, "unauthorized", "no"))
    made = run(server, people("UTC", "Etc/GMT-1"), (local(-60), local(1_800)))
    assert (outcomes(made), made.opens_at) == ({"rejected": 1, "not_sent": 1}, None)


def test_after_an_error_each_of_those_that_waited_has_a_line_in_the_results(server: Hostile, tmp_path: Path) -> None:
    server.always(hostile.error(401, "unauthorized", "no"))
    results = ResultsWriter(str(tmp_path), 1)
    results.open()
    run(server, people("Etc/GMT-1", "UTC", "Etc/GMT-1"), (local(-60), local(1_800)), results=results)
    (part,) = tmp_path.glob("*.jsonl")
    lines = [json.loads(line) for line in part.read_text().splitlines()]
    assert {line["index"]: line["outcome"] for line in lines} == {0: "not_sent", 1: "rejected", 2: "not_sent"}


def test_what_waits_counts_as_not_sent_when_the_task_ends(server: Hostile) -> None:
    made = run(server, people("UTC", "Etc/GMT-1"), (local(-60), local(1_800)))
    made.end()
    assert outcomes(made) == {"sent": 1, "not_sent": 1}


def test_a_window_changes_while_a_batch_runs() -> None:
    window = read_batch_window((local(1), local(6)), "UTC")
    assert window is not None
    assert not window.needs_timezone

    assert window.closes_at(None) is None
    until(lambda: window.opens_at(None) is None, "the window opens")
    assert window.closes_at("Etc/GMT-1") is None
    until(lambda: window.opens_at(None) is not None, "the window closes")


def test_refusals_after_a_night_are_those_of_single_messages_where_one_was_accepted_before(server: Hostile) -> None:
    messages = people("UTC", *["Etc/GMT-1"] * 60)
    record = begun(messages)
    first = run(server, messages, (local(-60), local(1_800)), record=record)
    assert outcomes(first) == {"sent": 1}
    server.always(hostile.error(422, "parameter_invalid", "no"))
    second = run(server, messages, (local(3_540), local(5_400)), record=record)
    assert (outcomes(second), second.fatal) == ({"sent": 1, "rejected": 60}, None)


def test_the_log_says_how_many_go_out_now_and_how_fast(server: Hostile, caplog: pytest.LogCaptureFixture) -> None:
    messages = people(*["UTC"] * 200, "Etc/GMT-1")
    record = begun(messages)
    run(server, messages, (local(-60), local(1_800)), record=record)
    caplog.clear()
    with caplog.at_level("INFO"):
        run(server, messages, (local(3_540), local(5_400)), record=record)
    begin, end = (line for line in caplog.messages if " messages to " in line or " a second" in line)
    assert begin.startswith("1 messages to ")
    # A single request takes some milliseconds: 201 a second would be a rate of those that went out before.
    assert (rate := re.fullmatch(r"201 of 201: 201 sent; (\d+) a second", end))
    assert int(rate[1]) < 201


def test_a_clock_that_is_set_back_changes_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    window = read_batch_window((local(-60), local(3_600)), "UTC")
    assert window is not None
    assert window.opens_at(None) is None

    now = time.time
    monkeypatch.setattr("time.time", lambda: now() - 3_600)
    assert window.opens_at(None) is not None
