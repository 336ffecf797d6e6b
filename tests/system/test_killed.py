"""A task whose process is killed while it sends: at most one message, and an unknown outcome is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.eventually import until
from tests.support.hostile import Act

if TYPE_CHECKING:
    from tests.support.airflow_instance import AirflowInstance, Task
    from tests.support.hostile import Exchange, Hostile


def test_a_task_killed_before_its_start_sends_when_retried(airflow: AirflowInstance, intercom: Hostile) -> None:
    send = airflow.run("sending", "send", die="before")

    assert send.end() == "success"
    assert len(intercom.created) == 1
    assert send.xcom("outcome") == "sent"
    assert send.info["try_number"] == 2


def test_a_task_killed_before_its_request_is_unconfirmed(airflow: AirflowInstance, intercom: Hostile) -> None:
    send = airflow.run("sending", "send", first_conn="intercom_silent")
    until(lambda: any(send.ledger), "the intent")
    send.kill()

    assert_unconfirmed(send)
    assert intercom.requests == []


@pytest.mark.parametrize("created", [False, True])
def test_a_task_killed_before_the_reply_is_unconfirmed(
    airflow: AirflowInstance, intercom: Hostile, created: bool
) -> None:
    send = airflow.task("sending", "send")
    intercom.script(killing(send, created=created))
    send.start_run()

    assert_unconfirmed(send)
    assert len(intercom.created) == created
    assert len(intercom.requests) == 1


def test_a_task_killed_after_the_reply_returns_what_it_sent(airflow: AirflowInstance, intercom: Hostile) -> None:
    send = airflow.run("sending", "send", die="after")

    assert send.end() == "success"
    assert len(intercom.requests) == len(intercom.created) == 1
    assert send.xcom("outcome") == "already_sent"
    assert send.xcom("id") == "403900001"
    assert send.info["try_number"] == 2


def killing(task: Task, *, created: bool) -> Act:
    """Read the request, create its message if asked to, and kill the task before it has a reply."""

    def run(exchange: Exchange) -> None:
        if created:
            exchange.create()
        task.kill()
        exchange.hang_up()

    return Act(run)


def assert_unconfirmed(task: Task) -> None:
    assert task.end() == "failed"
    assert task.xcom("outcome") == "unconfirmed"
    assert "may have been sent or not" in task.xcom("reason")
    # The two remaining retries are not used, because a person has to decide first.
    assert task.info["try_number"] == 2
