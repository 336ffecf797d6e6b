"""A batch that is stopped or times out: it makes no further request, and few messages are unconfirmed."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.support.eventually import until
from tests.support.hostile import healthy, late

from .campaign import counts, last_results, process_of, start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.airflow_instance import AirflowInstance
    from tests.support.hostile import Hostile

    from .campaign import SandboxProcess

# The time within which Airflow stops a task that was marked failed.
_MAX_STOP_SECONDS: Final = 5.0


def test_a_batch_marked_failed_while_it_sends_makes_no_further_request_and_has_nothing_unconfirmed(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    send = start(airflow, "batch", tmp_path, 800)
    process = process_of(send)
    until(lambda: sandbox.number >= 200, "some messages", every=0.05)

    marked = time.time()
    send.mark_failed()
    until(lambda: not process.is_running(), "the end of the task's process", every=0.05)
    reached = sandbox.number
    assert sandbox.last_request - marked < _MAX_STOP_SECONDS + 1
    assert reached < 800

    send.clear()
    assert sandbox.number == reached
    assert send.end() == "success"
    assert counts(send) == Counter(total=800, sent=800 - reached, already_sent=reached)
    assert set(sandbox.times.values()) == {1}
    assert len(sandbox.times) == 800


def test_a_batch_marked_failed_without_replies_has_only_the_messages_in_flight_unconfirmed(
    airflow: AirflowInstance, intercom: Hostile, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    intercom.script(*[healthy()] * 40)
    intercom.always(late(20, created=True))
    send = start(airflow, "batch", tmp_path, 300, first_conn="intercom_default")
    process = process_of(send)
    until(lambda: len(intercom.requests) > 50, "requests without a reply", every=0.05)

    send.mark_failed()
    until(lambda: not process.is_running(), "the end of the task's process", every=0.05)
    in_flight = sum(request.method == "POST" for request in intercom.requests) - 40
    send.clear()

    assert send.end() == "failed"
    assert counts(send) == Counter(total=300, sent=260 - in_flight, already_sent=40, unconfirmed=in_flight)
    assert sandbox.number == len(sandbox.times) == 260 - in_flight


def test_a_batch_that_times_out_several_times_completes_with_its_retries(
    airflow: AirflowInstance, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    send = start(airflow, "batch_without_time", tmp_path, 900)

    assert send.end(within=90) == "success"
    assert send.info["try_number"] > 1
    counted = counts(send)
    assert counted["sent"] + counted["already_sent"] == counted["total"] == 900
    assert set(sandbox.times.values()) == {1}
    assert len(sandbox.times) == 900
    assert sorted(line["index"] for line in last_results(tmp_path / "results", send)) == list(range(900))
