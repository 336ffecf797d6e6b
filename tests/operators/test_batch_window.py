"""A batch with a send window, as a task: it sleeps or defers, and counts once."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.operators.batch import SendMessageBatchOperator
from intercom_provider.results import read_results
from tests.support.dags import connect
from tests.support.messages import in_app
from tests.support.timezones import write_zone, zones_in

if TYPE_CHECKING:
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox

USERS = [f"6762f2391bb69f9f2193bc{n:02}" for n in range(3)]


def local(seconds: float) -> str:
    """Return the local time in UTC in so many seconds."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).time().isoformat(timespec="seconds")


def people(*zones: str) -> list[dict[str, Any]]:
    return [in_app(to={"type": "user", "id": USERS[n]}, timezone=zone) for n, zone in enumerate(zones)]


def batch(**fields: Any) -> SendMessageBatchOperator:
    return SendMessageBatchOperator(task_id="send", **fields)


@pytest.mark.needs("task_state_store")
def test_windows_that_open_soon_are_waited_for_in_place(run_dag: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    write_zone(tmp_path / "zones", "Test/Behind", -4)
    write_zone(tmp_path / "zones", "Test/FurtherBehind", -8)
    begun = time.time()
    with zones_in(tmp_path / "zones"), DAG("soon") as dag:
        batch(
            messages=people("UTC", "Test/Behind", "Test/FurtherBehind"),
            send_window=(local(-1), local(3_600)),
            results_path=str(tmp_path / "results"),
        )
        run = run_dag(dag)
    assert run.states == {"send": "success"}
    assert (run.xcom("send", "sent"), run.xcom("send", "total")) == (3, 3)
    assert [message.recipient for message in sandbox.messages] == USERS
    assert sandbox.messages[2].time >= int(begun) + 6
    rows = list(read_results(run.xcom("send", "results_path")))
    assert [(row["index"], row["outcome"]) for row in rows] == [(0, "sent"), (1, "sent"), (2, "sent")]


@pytest.mark.needs("task_state_store")
def test_the_time_zone_is_that_of_the_message_else_of_the_defaults_else_of_the_operator(
    run_dag: Any, sandbox: Sandbox
) -> None:
    hours = (local(-60), local(1_800))
    with DAG("zones") as dag:
        batch(
            messages=people("UTC", "Etc/GMT-1", "${zone}"),
            defaults={"params": {"zone": "Etc/GMT-1"}, "timezone": "UTC"},
            send_window=hours,
            timezone="Etc/GMT-1",
            not_after=time.time() + 600,
            max_failed=None,
        )
    run = run_dag(dag)
    assert (run.xcom("send", "sent"), run.xcom("send", "expired")) == (1, 2)
    assert len(sandbox.messages) == 1


def test_a_dry_run_does_not_wait(run_dag: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, sandbox.connection, dry_run=True)
    with DAG("dry") as dag:
        batch(messages=people("UTC", "UTC"), send_window=(local(3_600), local(7_200)))
    assert run_dag(dag).xcom("send", "dry_run") == 2


@pytest.mark.needs("task_state_store")
@pytest.mark.usefixtures("sandbox")
def test_a_message_without_a_time_zone_is_wrong_where_the_batch_has_none(run_dag: Any) -> None:
    messages = [*people("UTC"), in_app(to={"type": "user", "id": USERS[1]})]
    with DAG("no_zone") as dag:
        batch(messages=messages, send_window=(local(-60), local(3_600)), invalid="reject", max_failed=1)
    run = run_dag(dag)
    assert (run.xcom("send", "sent"), run.xcom("send", "rejected")) == (1, 1)
    (reason,) = run.xcom("send", "reasons")
    assert reason["reason"].startswith("timezone: is needed with send_window")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"send_window": ("9", "20:00")}, "send_window: must be two local times"),
        ({"send_window": "09:00-20:00"}, "send_window: must be two local times"),
        ({"send_window": ("09:00", "09:00")}, "send_window: opens and closes at the same time"),
        ({"send_window": ("09:00", "20:00"), "timezone": "Nowhere"}, "timezone: must be the name of a time zone"),
    ],
)
def test_a_window_that_is_wrong_is_refused_when_the_dag_is_parsed(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidFieldError, match=words):
        batch(messages=people("UTC"), **fields)
