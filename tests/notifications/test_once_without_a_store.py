"""Alerts before Airflow 3.3, where nothing remembers what a task has alerted of."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from tests.support.alerts import Fails, alert, awaited, bodies

if TYPE_CHECKING:
    from tests.support.hostile import Hostile

pytestmark = pytest.mark.lacks("task_state_store")


def test_retries_end_in_one_alert(run_dag: Any, server: Hostile) -> None:
    notifier = alert()
    with DAG("sales") as dag:
        Fails(task_id="load", retries=3, on_retry_callback=notifier, on_failure_callback=notifier)
    run = run_dag(dag)
    (said,) = bodies(server)
    assert said.startswith(f"Task load of DAG sales failed\nRun: {run.run_id}, try 4 of 4\n")


def test_on_retry_alone_alerts_with_the_first_try(run_dag: Any, server: Hostile) -> None:
    with DAG("retried") as dag:
        Fails(task_id="load", retries=3, on_retry_callback=[alert()])
    run_dag(dag)
    (said,) = bodies(server)
    assert "try 1 of 4" in said


def test_a_start_is_told_once(run_dag: Any, server: Hostile) -> None:
    with DAG("started") as dag:
        Fails(task_id="load", retries=2, on_execute_callback=[alert()])
    run_dag(dag)
    (said,) = bodies(server)
    assert said.startswith("Task load of DAG started has started\n")


def test_a_dag_and_a_deadline_alert(run_dag: Any, server: Hostile) -> None:
    with DAG("reports", on_failure_callback=[alert()]) as dag:
        Fails(task_id="load")
    run_dag(dag)
    asyncio.run(awaited())
    assert [said.splitlines()[0] for said in bodies(server)] == [
        "DAG reports failed: task_failure",
        "DAG reports missed a deadline",
    ]
