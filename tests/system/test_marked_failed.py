"""A task that is marked failed while it waits to send."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import psutil  # type: ignore[import-untyped]  # Airflow brings it, without types

from tests.support.eventually import until
from tests.support.hostile import rate_limited

if TYPE_CHECKING:
    from tests.support.airflow_instance import AirflowInstance
    from tests.support.hostile import Hostile

# Longer than Airflow needs to signal the task, shorter than the five seconds that it then leaves it to end.
_WAIT_SECONDS: Final = 4


def test_a_task_marked_failed_stops_before_its_next_request(airflow: AirflowInstance, intercom: Hostile) -> None:
    intercom.always(rate_limited(retry_after=str(_WAIT_SECONDS)))
    send = airflow.run("sending", "send")
    until(lambda: intercom.requests, "the request")
    pid = send.info["pid"]

    send.mark_failed()
    until(lambda: not psutil.pid_exists(pid), "the end of the task's process")
    time.sleep(max(0.0, intercom.requests[0].time + _WAIT_SECONDS + 1 - time.time()))

    assert len(intercom.requests) == 1
    assert send.state == "failed"


def test_a_task_marked_failed_before_it_sent_sends_when_cleared(airflow: AirflowInstance, intercom: Hostile) -> None:
    intercom.script(rate_limited(retry_after=str(_WAIT_SECONDS)))
    send = airflow.run("sending", "send")
    until(lambda: intercom.requests, "the request")
    pid = send.info["pid"]
    send.mark_failed()
    until(lambda: not psutil.pid_exists(pid), "the end of the task's process")

    send.clear()

    assert send.end() == "success"
    assert send.xcom("outcome") == "sent"
    assert len(intercom.created) == 1
