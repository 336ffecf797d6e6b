"""A wait that is the triggerer's: seen while it lasts, and not lost with its process."""

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


def test_what_airflow_stores_of_a_deferred_wait_names_nobody_and_holds_no_token(
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
    told = "\n".join(stored)
    assert '"poke_interval"' in told
    assert not [secret for secret in (TOKEN, PHONE) if secret in told]


def test_a_deferred_wait_outlives_the_triggerer_and_keeps_its_deadline(
    airflow: AirflowInstance, intercom: Hostile
) -> None:
    wait = airflow.run("timing_out", "wait")
    wait.reach("deferred")
    # Late enough that a wait which began anew would end too late to be taken for this one.
    until(lambda: len(looks(intercom)) > 5, "the triggerer's first looks")

    airflow.kill("triggerer")
    seen = len(looks(intercom))
    airflow.start("triggerer")
    until(lambda: len(looks(intercom)) > seen, "the next triggerer's first look")
    assert wait.state == "deferred"

    assert wait.end() == "success"
    assert wait.xcom("timed_out") is True
    took = seconds(wait.info["end_date"]) - seconds(wait.info["start_date"])
    assert 40 < took < 50


def looks(intercom: Hostile) -> list[Received]:
    return [request for request in intercom.requests if request.path == "/messages/status"]


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
