"""The example that starts once when a broadcast has settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.airflow_instance import Task
from tests.support.eventually import until

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox
    from tests.support.airflow_instance import AirflowInstance

DAG_ID = "whatsapp_campaign_settled"


def test_the_example_runs_once_per_settled_broadcast_even_if_the_triggerer_restarts(
    airflow: AirflowInstance, campaign: Sandbox
) -> None:
    await_polls(campaign)
    assert runs(airflow) == []

    campaign.add_ruleset("12345", events=[event(0, "delivered"), event(1, "read"), event(2, "sent")])
    await_polls(campaign)
    assert runs(airflow) == []
    campaign.set_status("wamid.2=", "failed")
    (first,) = until(lambda: runs(airflow), "the DAG's run")
    report(airflow, first)
    # Airflow lists an event only once its run has begun.
    assert payload(airflow) == {
        "ruleset_id": "12345",
        "total": 3,
        "reached": 2,
        "pending": 0,
        "failed": 1,
        "delivered": 1,
        "read": 1,
    }
    assert reports(campaign) == ["Your offer has reached 2 of 3 customers; 1 have read it."]
    await_polls(campaign)

    airflow.kill("triggerer")
    airflow.start("triggerer")
    await_polls(campaign, polls=6)
    assert runs(airflow) == [first]

    campaign.add_ruleset("12345", events=[event(3, "delivered")])
    until(lambda: len(runs(airflow)) > 1, "the run for more recipients")
    await_polls(campaign)
    (second,) = set(runs(airflow)) - {first}
    report(airflow, second)
    assert reports(campaign)[1:] == ["Your offer has reached 3 of 4 customers; 1 have read it."]


def event(number: int, status: str) -> dict[str, Any]:
    return {"whatsapp_message_id": f"wamid.{number}=", "status": status}


def polls_of(campaign: Sandbox) -> int:
    return sum(request.path == "/messages/status" for request in campaign.requests)


def await_polls(campaign: Sandbox, polls: int = 4) -> None:
    """Wait until the trigger has polled that many times."""
    seen = polls_of(campaign)
    until(lambda: polls_of(campaign) >= seen + polls, "the trigger's polls")


def runs(airflow: AirflowInstance) -> list[str]:
    return [run["dag_run_id"] for run in airflow.call("GET", f"/dags/{DAG_ID}/dagRuns")["dag_runs"]]


def payload(airflow: AirflowInstance) -> dict[str, Any]:
    (happened,) = airflow.call("GET", "/assets/events?name_pattern=whatsapp_autumn_offer")["asset_events"]
    found: dict[str, Any] = happened["extra"]["payload"]
    return found


def report(airflow: AirflowInstance, run_id: str) -> None:
    assert Task(airflow, DAG_ID, run_id, "report").end() == "success"


def reports(campaign: Sandbox) -> list[str]:
    return [message.wire["body"] for message in campaign.messages]
