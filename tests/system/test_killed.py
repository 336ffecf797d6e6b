"""
A task whose process is killed while it sends: at most one message, and an unknown outcome is reported.

Each is tested with each ledger, and then cleared: what was sent or may have been sent is not sent again. Airflow 3.4
empties its task state store with a clear, so there nobody knows then what was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.eventually import until
from tests.support.features import FEATURES
from tests.support.hostile import Act

if TYPE_CHECKING:
    from tests.support.airflow_instance import AirflowInstance, Task
    from tests.support.hostile import Exchange, Hostile
    from tests.system.ledgers import SystemLedger


def test_a_task_killed_before_its_start_sends_when_retried(
    airflow: AirflowInstance, intercom: Hostile, ledger: SystemLedger, request: pytest.FixtureRequest
) -> None:
    send = airflow.run("sending", "send", die="before", ledger=ledger.conn_id)

    assert send.end() == "success"
    assert len(intercom.created) == 1
    assert send.xcom("outcome") == "sent"
    assert send.info["try_number"] == 2
    assert_clear_sends_nothing(send, intercom, ledger, request, "already_sent")


def test_a_task_killed_before_its_request_is_unconfirmed(
    airflow: AirflowInstance, intercom: Hostile, ledger: SystemLedger, request: pytest.FixtureRequest
) -> None:
    send = airflow.run("sending", "send", first_conn="intercom_silent", ledger=ledger.conn_id)
    until(lambda: ledger.has_intent(send), "the intent")
    send.kill()

    assert_unconfirmed(send)
    assert intercom.requests == []
    assert_clear_sends_nothing(send, intercom, ledger, request, "unconfirmed")


@pytest.mark.parametrize("created", [False, True])
def test_a_task_killed_before_the_reply_is_unconfirmed(
    airflow: AirflowInstance, intercom: Hostile, ledger: SystemLedger, request: pytest.FixtureRequest, created: bool
) -> None:
    send = airflow.task("sending", "send")
    intercom.script(killing(send, created=created))
    send.start_run(ledger=ledger.conn_id)

    assert_unconfirmed(send)
    assert len(intercom.created) == created
    assert len(intercom.requests) == 1
    assert_clear_sends_nothing(send, intercom, ledger, request, "unconfirmed")


def test_a_task_killed_after_the_reply_returns_what_it_sent(
    airflow: AirflowInstance, intercom: Hostile, ledger: SystemLedger, request: pytest.FixtureRequest
) -> None:
    send = airflow.run("sending", "send", die="after", ledger=ledger.conn_id)

    assert send.end() == "success"
    assert len(intercom.requests) == len(intercom.created) == 1
    assert send.xcom("outcome") == "already_sent"
    assert send.xcom("id") == "403900001"
    assert send.info["try_number"] == 2
    assert_clear_sends_nothing(send, intercom, ledger, request, "already_sent")


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


def assert_clear_sends_nothing(
    task: Task, intercom: Hostile, ledger: SystemLedger, request: pytest.FixtureRequest, outcome: str
) -> None:
    """Clear the task as Airflow does by itself, and check the outcome; Airflow 3.4 empties its own store with it."""
    retried, sent = task.xcom("outcome"), len(intercom.created)
    task.clear(keeps_state=False)
    task.end()
    cleared = task.xcom("outcome")
    request.node.user_properties.append(("kill", f"{request.node.name}: {retried}, {cleared}, {sent} sent"))
    is_emptied = FEATURES["clear_empties_state"].is_there() and not ledger.conn_id
    assert cleared == ("unconfirmed" if is_emptied else outcome)
    assert len(intercom.created) == sent
