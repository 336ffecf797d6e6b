"""What a StatsD server gets of a task in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.hostile import error

if TYPE_CHECKING:
    from tests.support.airflow_instance import AirflowInstance
    from tests.support.hostile import Hostile
    from tests.support.statsd import StatsdServer


def test_messages_and_requests_of_a_batch_arrive_and_the_event_of_its_outlet_has_its_counts(
    airflow: AirflowInstance, intercom: Hostile, statsd: StatsdServer
) -> None:
    before = statsd.totals().get("messages.in_app.sent", 0)
    people = airflow.run("batch_of_a_task", "people")
    assert people.in_same_run("send").end() == "success"
    assert len(intercom.created) == 2
    totals = statsd.wait_for(lambda totals: totals.get("messages.in_app.sent", 0) >= before + 2)
    assert totals["messages.in_app.sent"] == before + 2
    assert totals["requests.200"] >= 2
    path = f"/assets/events?source_dag_id={people.dag_id}&source_run_id={people.run_id}"
    (created,) = airflow.call("GET", path)["asset_events"]
    assert {name: created["extra"][name] for name in ("total", "sent", "rejected")} == {
        "total": 2,
        "sent": 2,
        "rejected": 0,
    }


def test_the_requests_of_a_deferred_wait_arrive(
    airflow: AirflowInstance, intercom: Hostile, statsd: StatsdServer
) -> None:
    # No other process here gets this answer.
    intercom.script(*[error(502, "bad_gateway", "no")] * 2)
    wait = airflow.run("timing_out", "wait")
    assert statsd.wait_for(lambda totals: totals.get("requests.502", 0) >= 2)["requests.502"] == 2
    wait.mark_failed()
