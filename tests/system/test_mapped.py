"""A mapped list that changes after a clear of the task that returns it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.airflow_instance import AirflowInstance
    from tests.support.hostile import Hostile


def test_everybody_is_reached_once_after_the_list_has_another_order(
    airflow: AirflowInstance, intercom: Hostile
) -> None:
    people = airflow.run("mapping", "people")
    send = people.in_same_run("send")
    assert [send[index].end() for index in range(3)] == ["success"] * 3

    people.clear(downstream=True)

    assert [send[index].end() for index in range(4)] == ["success"] * 4
    reached = sorted(message["to"]["user_id"] for message in intercom.created)
    assert reached == ["ada", "alan", "edsger", "grace"]


def test_everybody_is_reached_once_after_the_chunks_of_a_campaign_have_another_size(
    airflow: AirflowInstance, intercom: Hostile
) -> None:
    chunks = airflow.run("mapping_chunks", "chunks")
    send = chunks.in_same_run("send")
    assert [send[index].end() for index in range(3)] == ["success"] * 3

    chunks.clear(downstream=True)

    assert [send[index].end() for index in range(4)] == ["success"] * 4
    reached = sorted(int(message["to"]["user_id"]) for message in intercom.created)
    assert reached == list(range(100))
