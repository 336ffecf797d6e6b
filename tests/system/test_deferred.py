"""A deferred wait: its progress shows, and it survives the end of the triggerer."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tests.support.eventually import until
from tests.support.hostile import TOKEN, event
from tests.system.people import PHONE

if TYPE_CHECKING:
    from tests.support.airflow_instance import AirflowInstance
    from tests.support.hostile import Hostile, Received


def test_a_deferred_wait_shows_its_progress_and_settles(airflow: AirflowInstance, intercom: Hostile) -> None:
    wait = airflow.run("settling", "wait")
    wait.reach("deferred")
    progress = until(lambda: wait.xcom("progress"), "the progress")
    assert wait.state == "deferred"
    assert (progress["total"], progress["delivered"]) == (1, 1)

    intercom.pages = [[event("wamid.1", "read"), event("wamid.2", "delivered")]]

    assert wait.end() == "success"
    assert [wait.xcom(key) for key in ("total", "read", "delivered", "settled")] == [2, 1, 1, True]


def test_the_stored_trigger_and_event_hold_no_personal_data_and_no_token(
    airflow: AirflowInstance, intercom: Hostile
) -> None:
    wait = airflow.run("settling", "wait")
    wait.reach("deferred")
    intercom.pages = [[event("wamid.1", "read"), event("wamid.2", "delivered")]]
    stored: set[str] = set()

    def event_is_stored() -> bool:
        stored.update(text for (text,) in airflow.select("SELECT kwargs FROM trigger") if text)
        events = airflow.select("SELECT next_kwargs FROM task_instance WHERE next_kwargs IS NOT NULL")
        stored.update(text for (text,) in events)
        return any('"settled"' in text for (text,) in events)

    until(event_is_stored, "the trigger's event", every=0.02)
    assert wait.end() == "success"
    joined = "\n".join(stored)
    assert '"poke_interval"' in joined
    assert not [secret for secret in (TOKEN, PHONE) if secret in joined]


def test_a_deferred_wait_survives_the_triggerer_and_keeps_its_deadline(
    airflow: AirflowInstance, intercom: Hostile
) -> None:
    wait = airflow.run("timing_out", "wait")
    wait.reach("deferred")
    # Late enough that a wait which started over would end after the time that is checked below.
    until(lambda: len(polls(intercom)) > 5, "the triggerer's first polls")

    airflow.kill("triggerer")
    seen = len(polls(intercom))
    airflow.start("triggerer")
    until(lambda: len(polls(intercom)) > seen, "the next triggerer's first poll")
    assert wait.state == "deferred"

    assert wait.end() == "success"
    assert wait.xcom("timed_out") is True
    duration = seconds(wait.info["end_date"]) - seconds(wait.info["start_date"])
    assert 40 < duration < 50


def polls(intercom: Hostile) -> list[Received]:
    return [request for request in intercom.requests if request.path == "/messages/status"]


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
