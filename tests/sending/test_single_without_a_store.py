"""Before Airflow 3.3 nothing remembers what a try has sent."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.support import hostile
from tests.support.senders import FailsAfterwards

if TYPE_CHECKING:
    from tests.support.hostile import Hostile

pytestmark = pytest.mark.lacks("task_state_store")


def message(**fields: Any) -> dict[str, Any]:
    usual = {"task_id": "send", "message_type": "in_app", "to": {"type": "user", "id": "1"}, "body": "Hi", "retries": 1}
    return {**usual, "retry_delay": timedelta(seconds=0.1), **fields}


@pytest.mark.parametrize(
    ("on_unconfirmed", "state", "outcome", "created"),
    [
        ("fail", "failed", "unconfirmed", 1),
        ("resend", "success", "sent", 2),
        ("assume_sent", "success", "unconfirmed", 1),
    ],
)
def test_the_outcome_of_the_first_try_is_unknown_to_the_second(
    run_dag: Any, server: Hostile, on_unconfirmed: str, state: str, outcome: str, created: int
) -> None:
    with DAG(f"second_try_{on_unconfirmed}") as dag:
        FailsAfterwards(**message(on_unconfirmed=on_unconfirmed))
    run = run_dag(dag)
    assert run.states == {"send": state}
    assert run.xcom("send", "outcome") == outcome
    assert len(server.created) == created


def test_the_error_says_that_this_airflow_keeps_no_record(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    with DAG("no_record") as dag:
        FailsAfterwards(**message())
    run_dag(dag)
    assert "Airflow before 3.3 keeps no record between two tries" in capfd.readouterr().out
    assert len(server.created) == 1


def test_always_sends_with_every_try(run_dag: Any, server: Hostile) -> None:
    with DAG("always") as dag:
        FailsAfterwards(**message(repeat="always"))
    assert run_dag(dag).states == {"send": "success"}
    assert len(server.created) == 2


def test_an_unconfirmed_first_try_fails_for_good(run_dag: Any, server: Hostile) -> None:
    server.script(hostile.drop(created=True))
    with DAG("unconfirmed") as dag:
        SendMessageOperator(**message())
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert run.xcom("send", "outcome") == "unconfirmed"
    assert len(server.requests) == 1


def test_reschedule_mode_asks_for_an_expected_count(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    with DAG("reschedule") as dag:
        MessageStatusSensor(task_id="wait", ruleset_id=77, mode="reschedule", poke_interval=0.2, retries=2)
    assert run_dag(dag).states == {"wait": "failed"}
    assert "give expected_count, or use deferrable=True" in capfd.readouterr().out
    assert server.requests == []
