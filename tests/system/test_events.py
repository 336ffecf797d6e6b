"""The example that starts when a broadcast has arrived, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.airflow_instance import Task, until

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox
    from tests.support.airflow_instance import AirflowInstance

DAG_ID = "whatsapp_campaign_settled"


def test_the_example_runs_once_for_what_has_settled_also_when_the_triggerer_is_restarted(
    airflow: AirflowInstance, campaign: Sandbox
) -> None:
    watch_on(campaign)
    assert runs(airflow) == []

    campaign.add_ruleset("12345", events=[event(0, "delivered"), event(1, "read"), event(2, "sent")])
    watch_on(campaign)
    assert runs(airflow) == []
    campaign.set_status("wamid.2=", "failed")
    (first,) = until(lambda: runs(airflow), "the DAG's run")
    report(airflow, first)
    # Airflow does not tell of an event as long as its run has not begun.
    assert payload(airflow) == {
        "ruleset_id": "12345",
        "total": 3,
        "reached": 2,
        "pending": 0,
        "failed": 1,
        "delivered": 1,
        "read": 1,
    }
    assert told(campaign) == ["Your offer has reached 2 of 3 customers; 1 have read it."]
    watch_on(campaign)

    airflow.kill("triggerer")
    airflow.start("triggerer")
    watch_on(campaign, looks=6)
    assert runs(airflow) == [first]

    campaign.add_ruleset("12345", events=[event(3, "delivered")])
    until(lambda: len(runs(airflow)) > 1, "the run for more recipients")
    watch_on(campaign)
    (second,) = set(runs(airflow)) - {first}
    report(airflow, second)
    assert told(campaign)[1:] == ["Your offer has reached 3 of 4 customers; 1 have read it."]


def event(number: int, status: str) -> dict[str, Any]:
    return {"whatsapp_message_id": f"wamid.{number}=", "status": status}


def looks_at(campaign: Sandbox) -> int:
    return sum(request.path == "/messages/status" for request in campaign.requests)


def watch_on(campaign: Sandbox, looks: int = 4) -> None:
    """Wait until the trigger has looked so often."""
    seen = looks_at(campaign)
    until(lambda: looks_at(campaign) >= seen + looks, "the trigger's looks")


def runs(airflow: AirflowInstance) -> list[str]:
    return [run["dag_run_id"] for run in airflow.call("GET", f"/dags/{DAG_ID}/dagRuns")["dag_runs"]]


def payload(airflow: AirflowInstance) -> dict[str, Any]:
    (happened,) = airflow.call("GET", "/assets/events?name_pattern=whatsapp_autumn_offer")["asset_events"]
    found: dict[str, Any] = happened["extra"]["payload"]
    return found


def report(airflow: AirflowInstance, run_id: str) -> None:
    assert Task(airflow, DAG_ID, run_id, "report").end() == "success"


def told(campaign: Sandbox) -> list[str]:
    return [message.wire["body"] for message in campaign.messages]
