"""A sensor's ``execution_timeout``: in poke mode the wait ends before it with its results, else it bounds a poll."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.sensors.message_reply import MessageReplySensor
from intercom_provider.sensors.message_status import MessageStatusSensor

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox

ON_ITS_WAY = [{"whatsapp_message_id": "wamid.1=", "status": "sent"}]
ARRIVED = [{"whatsapp_message_id": "wamid.2=", "status": "delivered"}]


def waits(**fields: Any) -> MessageStatusSensor:
    # The interval is longer than the wait: the last poll must not be late for it.
    usual = {"task_id": "wait", "ruleset_id": "77", "expected_count": 1, "poke_interval": 60}
    return MessageStatusSensor(**{**usual, **fields})


@pytest.mark.parametrize(
    ("options", "state"), [({"on_timeout": "report"}, "success"), ({"soft_fail": True}, "skipped")]
)
def test_in_poke_mode_the_wait_ends_before_it_with_its_results(
    run_dag: Any, sandbox: Sandbox, options: dict[str, Any], state: str
) -> None:
    sandbox.add_ruleset("77", events=ON_ITS_WAY)
    with DAG("poked") as dag:
        waits(execution_timeout=timedelta(seconds=12), timeout=600, **options)
    run = run_dag(dag)
    assert run.states == {"wait": state}
    assert (run.xcom("wait", "timed_out"), run.xcom("wait", "pending")) == (True, 1)


def test_airflow_retries_after_it_as_it_always_does(run_dag: Any, sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=ON_ITS_WAY)
    sandbox.add_ruleset("78", events=ARRIVED)
    retried: list[str] = []
    with DAG("retried") as dag:
        waits(
            ruleset_id="{{ 77 if ti.try_number == 1 else 78 }}",
            execution_timeout=timedelta(seconds=12),
            timeout=600,
            retries=1,
            retry_delay=timedelta(0),
            on_retry_callback=lambda context: retried.append(str(context["exception"])),
        )
    assert run_dag(dag).states == {"wait": "success"}
    assert len(retried) == 1
    assert "1 on their way" in retried[0] or "pending" in retried[0]
    assert "execution_timeout" in retried[0]


@pytest.mark.parametrize("mode", [{"mode": "reschedule"}, {"deferrable": True}])
def test_in_the_other_modes_the_wait_outlives_it(run_dag: Any, sandbox: Sandbox, mode: dict[str, Any]) -> None:
    sandbox.add_ruleset("77", events=ON_ITS_WAY)
    with DAG("outlived") as dag:
        waits(execution_timeout=timedelta(seconds=1.5), timeout=3, poke_interval=0.5, on_timeout="report", **mode)
    run = run_dag(dag)
    assert run.states == {"wait": "success"}
    assert run.xcom("wait", "timed_out") is True


def test_a_reply_is_waited_for_alike(run_dag: Any, sandbox: Sandbox) -> None:  # noqa: ARG001 - the connection
    with DAG("replied") as dag:
        MessageReplySensor(
            task_id="wait",
            message_id="403",
            poke_interval=60,
            execution_timeout=timedelta(seconds=12),
            timeout=600,
            on_timeout="report",
        )
    run = run_dag(dag)
    assert run.states == {"wait": "success"}
    assert run.xcom("wait", "timed_out") is True
