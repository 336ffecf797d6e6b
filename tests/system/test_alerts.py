"""Alerts from each of Airflow's processes that runs callbacks: worker, DAG processor, triggerer."""

from __future__ import annotations

import html
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.support.eventually import until

if TYPE_CHECKING:
    from tests.support.airflow_instance import AirflowInstance
    from tests.support.hostile import Hostile


def test_a_failing_run_alerts_each_of_those_it_concerns_once_and_again_when_it_was_cleared(
    airflow: AirflowInstance, intercom: Hostile
) -> None:
    load = airflow.run("alerting", "load")
    assert load.end() == "failed"
    until(lambda: {"dag-owner", "whoever-waits"} <= alerts(intercom).keys(), "the alerts")

    assert load.info["try_number"] == 4
    told = alerts(intercom)
    assert {person: len(texts) for person, texts in told.items()} == {
        "data-on-call": 1,
        "curious": 1,
        "dag-owner": 1,
        "whoever-waits": 1,
    }
    assert_tells(told["data-on-call"][0], "Task load of DAG alerting failed", load.run_id, "try 4 of 4", "rows < 10")
    assert_tells(told["curious"][0], "failed and will be tried again", load.run_id, "try 1 of 4", "rows < 10")
    assert_tells(told["dag-owner"][0], "DAG alerting failed: task_failure", load.run_id, "Last task: load")
    assert_tells(told["whoever-waits"][0], f"{load.run_id} was due at 20")

    load.clear()

    until(lambda: len(alerts(intercom)["dag-owner"]) > 1, "the alerts of the cleared run")
    told = alerts(intercom)
    assert_tells(told["data-on-call"][-1], "Task load of DAG alerting failed", "try 8 of 8")
    assert len(told["data-on-call"]) == 2


def test_where_a_process_was_killed_each_time_somebody_hears_of_it(airflow: AirflowInstance, intercom: Hostile) -> None:
    load = airflow.run("alerting", "load", die=True)
    assert load.end() == "failed"
    until(lambda: "dag-owner" in alerts(intercom), "the alert of the DAG")

    # Airflow runs no callback for a last try whose process was killed.
    first, last = alerts(intercom)["data-on-call"]
    assert_tells(first, "failed and will be tried again", "try 1 of 4", "the process was killed")
    assert_tells(last, "failed and will be tried again", "try 3 of 4", "the process was killed")


def alerts(intercom: Hostile) -> defaultdict[str, list[str]]:
    """Give the texts that each person got."""
    told = defaultdict(list)
    for request in intercom.requests:
        told[request.json["to"]["user_id"]].append(html.unescape(request.json["body"]))
    return told


def assert_tells(text: str, *parts: str) -> None:
    assert [part for part in parts if part not in text] == [], text
