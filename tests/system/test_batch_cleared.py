"""A batch that somebody clears, after a kill or in the middle of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.support.eventually import until

from .campaign import MOST_UNCONFIRMED, counts, kill, last_results, phone, process_of, start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.airflow_instance import AirflowInstance

    from .campaign import SandboxProcess


def test_what_a_kill_left_unconfirmed_becomes_what_a_person_says(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    send = start(airflow, "batch", tmp_path, 250)
    process = process_of(send)
    until(lambda: sandbox.number >= 50, "some messages", every=0.05)
    kill(process)
    assert send.end() == "failed"
    # The retry that is left is not spent on what a person has to decide.
    assert send.info["try_number"] == 2
    told, times = counts(send), sandbox.times
    lost = told["unconfirmed"]
    assert 0 < lost <= MOST_UNCONFIRMED
    assert told["sent"] + told["already_sent"] + lost == told["total"] == 250
    assert set(times.values()) == {1}
    in_doubt = {
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
    assert sandbox.times == times + Counter(in_doubt)


def test_cleared_with_repeat_on_clear_and_killed_in_the_middle_a_batch_sends_once_more_and_not_twice_more(
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
    told, times = counts(send), sandbox.times
    assert 0 < told["unconfirmed"] <= MOST_UNCONFIRMED
    known = [line for line in last_results(tmp_path / "results", send) if line["outcome"] != "unconfirmed"]
    assert len(known) == 250 - told["unconfirmed"]
    assert {times[phone(line["index"])] for line in known} == {2}
    assert max(times.values()) == 2


def test_cleared_while_it_runs_a_batch_goes_on_as_after_a_kill(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    send = start(airflow, "batch_of_a_campaign", tmp_path, 600)
    process = process_of(send)
    until(lambda: sandbox.number >= 50, "some messages", every=0.05)

    send.clear()

    until(lambda: not process.is_running(), "the end of the first try's process", every=0.05)
    assert send.end() == "success"
    assert send.info["try_number"] == 2
    told, times = counts(send), sandbox.times
    assert told["sent"] + told["already_sent"] + told["unconfirmed"] == told["total"] == 600
    assert told["unconfirmed"] <= MOST_UNCONFIRMED
    assert set(times.values()) == {1}
    assert len(times) >= 600 - told["unconfirmed"]
