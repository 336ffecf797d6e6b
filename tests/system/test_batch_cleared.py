"""A batch that is cleared, after a kill or while it runs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.support.eventually import until

from .campaign import MOST_UNCONFIRMED, counts, kill, last_results, phone, process_of, start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.airflow_instance import AirflowInstance

    from .campaign import SandboxProcess


def test_on_unconfirmed_decides_about_the_unconfirmed_messages_of_a_kill(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    send = start(airflow, "batch", tmp_path, 250)
    process = process_of(send)
    until(lambda: sandbox.number >= 50, "some messages", every=0.05)
    kill(process)
    assert send.end() == "failed"
    # The remaining retry is not used, because a person has to decide first.
    assert send.info["try_number"] == 2
    counted, times = counts(send), sandbox.times
    lost = counted["unconfirmed"]
    assert 0 < lost <= MOST_UNCONFIRMED
    assert counted["sent"] + counted["already_sent"] + lost == counted["total"] == 250
    assert set(times.values()) == {1}
    unconfirmed_phones = {
        phone(line["index"]) for line in last_results(tmp_path / "results", send) if line["outcome"] == "unconfirmed"
    }

    airflow.set_variable("on_unconfirmed", "assume_sent")
    send.clear()
    assert send.end() == "success"
    assert counts(send) == Counter(total=250, already_sent=250 - lost, unconfirmed=lost)
    assert sandbox.times == times

    airflow.set_variable("on_unconfirmed", "resend")
    send.clear()
    assert send.end() == "success"
    assert counts(send) == Counter(total=250, sent=lost, already_sent=250 - lost)
    assert sandbox.times == times + Counter(unconfirmed_phones)


def test_a_batch_cleared_with_repeat_on_clear_and_then_killed_sends_once_more_and_not_twice(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    send = start(airflow, "batch_of_a_campaign", tmp_path, 250, repeat="on_clear")
    assert send.end() == "success"
    assert sandbox.number == len(sandbox.times) == 250

    send.clear()
    process = process_of(send, 2)
    until(lambda: sandbox.number >= 300, "some of the messages once more", every=0.05)
    kill(process)

    assert send.end() == "success"
    counted, times = counts(send), sandbox.times
    assert 0 < counted["unconfirmed"] <= MOST_UNCONFIRMED
    known = [line for line in last_results(tmp_path / "results", send) if line["outcome"] != "unconfirmed"]
    assert len(known) == 250 - counted["unconfirmed"]
    assert {times[phone(line["index"])] for line in known} == {2}
    assert max(times.values()) == 2


def test_a_batch_cleared_while_it_runs_continues_as_after_a_kill(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    send = start(airflow, "batch_of_a_campaign", tmp_path, 600)
    process = process_of(send)
    until(lambda: sandbox.number >= 50, "some messages", every=0.05)

    send.clear()

    until(lambda: not process.is_running(), "the end of the first try's process", every=0.05)
    assert send.end() == "success"
    assert send.info["try_number"] == 2
    counted, times = counts(send), sandbox.times
    assert counted["sent"] + counted["already_sent"] + counted["unconfirmed"] == counted["total"] == 600
    assert counted["unconfirmed"] <= MOST_UNCONFIRMED
    assert set(times.values()) == {1}
    assert len(times) >= 600 - counted["unconfirmed"]
