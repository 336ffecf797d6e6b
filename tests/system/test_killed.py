"""A task whose process is killed while it sends: at most one message, and the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.eventually import until
from tests.support.hostile import Act

if TYPE_CHECKING:
    from tests.support.airflow_instance import AirflowInstance, Task
    from tests.support.hostile import Exchange, Hostile


def test_killed_before_it_does_anything_a_task_sends_when_retried(airflow: AirflowInstance, intercom: Hostile) -> None:
    send = airflow.run("sending", "send", die="before")

    assert send.end() == "success"
    assert len(intercom.created) == 1
    assert send.xcom("outcome") == "sent"
    assert send.info["try_number"] == 2


def test_killed_before_its_request_left_a_task_says_that_it_does_not_know(
    airflow: AirflowInstance, intercom: Hostile
) -> None:
    send = airflow.run("sending", "send", first_conn="intercom_silent")
    until(lambda: send.ledger, "the intent")
    send.kill()

    assert_unconfirmed(send)
    assert intercom.requests == []


@pytest.mark.parametrize("created", [False, True])
def test_killed_before_the_reply_a_task_says_that_it_does_not_know(
    airflow: AirflowInstance, intercom: Hostile, created: bool
) -> None:
    send = airflow.task("sending", "send")
    intercom.script(killing(send, created=created))
    send.start_run()

    assert_unconfirmed(send)
    assert len(intercom.created) == created
    assert len(intercom.requests) == 1


def test_killed_after_the_reply_a_task_remembers_what_it_sent(airflow: AirflowInstance, intercom: Hostile) -> None:
    send = airflow.run("sending", "send", die="after")

    assert send.end() == "success"
    assert len(intercom.requests) == len(intercom.created) == 1
    assert send.xcom("outcome") == "already_sent"
    assert send.xcom("id") == "403900001"
    assert send.info["try_number"] == 2


def killing(task: Task, *, created: bool) -> Act:
    """Read the request, perhaps do it, and kill the task that made it before it has a reply."""

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
    # Neither of the two retries that are left is spent on what a person has to decide.
    assert task.info["try_number"] == 2
