"""A DAG that starts when a broadcast has arrived, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.airflow_instance import Task, until

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox
    from tests.airflow_instance import AirflowInstance

DAG_ID = "on_settled"


def test_a_dag_starts_once_for_what_has_settled_also_when_the_triggerer_is_restarted(
    airflow: AirflowInstance, campaign: Sandbox
) -> None:
    watch_on(campaign)
    assert runs(airflow) == []

    campaign.add_ruleset("12345", events=[event(0, "delivered"), event(1, "read"), event(2, "sent")])
    watch_on(campaign)
    assert runs(airflow) == []
    campaign.set_status("wamid.2=", "failed")
    (first,) = until(lambda: runs(airflow), "the DAG's run")
    assert counts(airflow, first) == {
        "ruleset_id": "12345",
        "total": 3,
        "sent": 0,
        "delivered": 1,
        "read": 1,
        "failed": 1,
    }
    watch_on(campaign)

    airflow.kill("triggerer")
    airflow.start("triggerer")
    watch_on(campaign, looks=6)
    assert runs(airflow) == [first]

    campaign.add_ruleset("12345", events=[event(3, "delivered")])
    until(lambda: len(runs(airflow)) > 1, "the run for more recipients")
    watch_on(campaign)
    (second,) = set(runs(airflow)) - {first}
    assert counts(airflow, second)["total"] == 4


def event(number: int, status: str) -> dict[str, Any]:
    return {"whatsapp_message_id": f"wamid.{number}=", "status": status}


def watch_on(campaign: Sandbox, looks: int = 4) -> None:
    """Wait until the trigger has looked so often."""
    seen = len(campaign.requests)
    until(lambda: len(campaign.requests) >= seen + looks, "the trigger's looks")


def runs(airflow: AirflowInstance) -> list[str]:
    return [run["dag_run_id"] for run in airflow.call("GET", f"/dags/{DAG_ID}/dagRuns")["dag_runs"]]


def counts(airflow: AirflowInstance, run_id: str) -> dict[str, Any]:
    task = Task(airflow, DAG_ID, run_id, "counts")
    assert task.end() == "success"
    told: dict[str, Any] = task.xcom("return_value")
    return told
