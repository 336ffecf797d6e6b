"""A cleared task sends again only if `repeat` or `on_unconfirmed` allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.hostile import drop

if TYPE_CHECKING:
    from tests.support.airflow_instance import AirflowInstance
    from tests.support.hostile import Hostile


@pytest.mark.parametrize(
    ("repeat", "outcome", "message_id", "created"),
    [("never", "already_sent", "403900001", 1), ("on_clear", "sent", "403900002", 2)],
)
def test_a_cleared_task_sends_again_only_with_repeat_on_clear(
    airflow: AirflowInstance, intercom: Hostile, repeat: str, outcome: str, message_id: str, created: int
) -> None:
    send = airflow.run("sending", "send", repeat=repeat)
    assert send.end() == "success"
    assert send.xcom("outcome") == "sent"

    send.clear()

    assert send.end() == "success"
    assert (send.xcom("outcome"), send.xcom("id")) == (outcome, message_id)
    assert len(intercom.created) == created


@pytest.mark.parametrize(
    ("on_unconfirmed", "state", "outcome", "created"),
    [
        ("fail", "failed", "unconfirmed", 1),
        ("assume_sent", "success", "unconfirmed", 1),
        ("resend", "success", "sent", 2),
    ],
)
def test_on_unconfirmed_decides_about_a_task_cleared_after_a_lost_reply(
    airflow: AirflowInstance, intercom: Hostile, on_unconfirmed: str, state: str, outcome: str, created: int
) -> None:
    intercom.script(drop(created=True))
    send = airflow.run("sending", "send")
    assert send.end() == "failed"
    assert send.info["try_number"] == 1

    airflow.set_variable("on_unconfirmed", on_unconfirmed)
    send.clear()

    assert send.end() == state
    assert send.xcom("outcome") == outcome
    assert send.info["try_number"] == 2
    assert len(intercom.created) == created


@pytest.mark.needs("clear_empties_state")
@pytest.mark.parametrize(
    ("on_unconfirmed", "state", "outcome", "created"),
    [
        ("fail", "failed", "unconfirmed", 1),
        ("assume_sent", "success", "unconfirmed", 1),
        ("resend", "success", "sent", 2),
    ],
)
def test_on_unconfirmed_decides_about_a_task_whose_clear_emptied_its_store(
    airflow: AirflowInstance, intercom: Hostile, on_unconfirmed: str, state: str, outcome: str, created: int
) -> None:
    send = airflow.run("sending", "send")
    assert send.end() == "success"
    airflow.set_variable("on_unconfirmed", on_unconfirmed)

    send.clear(keeps_state=False)

    assert send.end() == state
    assert send.xcom("outcome") == outcome
    assert len(intercom.created) == created


@pytest.mark.needs("clear_empties_state")
def test_a_clear_that_keeps_the_state_finds_what_was_sent(airflow: AirflowInstance, intercom: Hostile) -> None:
    send = airflow.run("sending", "send")
    assert send.end() == "success"
    send.clear(keeps_state=True)
    assert send.end() == "success"
    assert send.xcom("outcome") == "already_sent"
    assert len(intercom.created) == 1
