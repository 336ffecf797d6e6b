"""Alerts from each process of Airflow that runs callbacks: worker, DAG processor, triggerer."""

from __future__ import annotations

import html
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.support.eventually import until

if TYPE_CHECKING:
    from tests.support.airflow_instance import AirflowInstance
    from tests.support.hostile import Hostile


def test_a_failing_run_alerts_each_person_once_and_once_more_after_a_clear(
    airflow: AirflowInstance, intercom: Hostile
) -> None:
    load = airflow.run("alerting", "load")
    assert load.end() == "failed"
    until(lambda: {"dag-owner", "whoever-waits"} <= alerts(intercom).keys(), "the alerts")

    assert load.info["try_number"] == 4
    texts_of = alerts(intercom)
    assert {person: len(texts) for person, texts in texts_of.items()} == {
        "data-on-call": 1,
        "curious": 1,
        "dag-owner": 1,
        "whoever-waits": 1,
    }
    assert_contains(
        texts_of["data-on-call"][0], "Task load of DAG alerting failed", load.run_id, "try 4 of 4", "rows < 10"
    )
    assert_contains(texts_of["curious"][0], "failed and will be tried again", load.run_id, "try 1 of 4", "rows < 10")
    assert_contains(texts_of["dag-owner"][0], "DAG alerting failed: task_failure", load.run_id, "Last task: load")
    assert_contains(texts_of["whoever-waits"][0], f"{load.run_id} was due at 20")

    load.clear()

    until(lambda: len(alerts(intercom)["dag-owner"]) > 1, "the alerts of the cleared run")
    texts_of = alerts(intercom)
    assert_contains(texts_of["data-on-call"][-1], "Task load of DAG alerting failed", "try 8 of 8")
    assert len(texts_of["data-on-call"]) == 2


def test_each_killed_process_with_a_retry_left_is_alerted(airflow: AirflowInstance, intercom: Hostile) -> None:
    load = airflow.run("alerting", "load", die=True)
    assert load.end() == "failed"
    until(lambda: "dag-owner" in alerts(intercom), "the alert of the DAG")

    # Airflow runs no callback for a last try whose process was killed.
    first, last = alerts(intercom)["data-on-call"]
    assert_contains(first, "failed and will be tried again", "try 1 of 4", "the process was killed")
    assert_contains(last, "failed and will be tried again", "try 3 of 4", "the process was killed")


def alerts(intercom: Hostile) -> defaultdict[str, list[str]]:
    """Return the texts that each person got."""
    texts_of = defaultdict(list)
    for request in intercom.requests:
        texts_of[request.json["to"]["user_id"]].append(html.unescape(request.json["body"]))
    return texts_of


def assert_contains(text: str, *parts: str) -> None:
    assert [part for part in parts if part not in text] == [], text
