"""Alerts that go wrong: mistakes, dead servers, odd texts and secrets, each told in the log."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from tests.support import hostile
from tests.support.alerts import SAYS, Fails, alert, awaited, bodies
from tests.support.dags import connect

if TYPE_CHECKING:
    from tests.support.hostile import Hostile

# What is wrong -> what the notifier gets, and what the log has to say about it.
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a template of a recipient": ({"to": {"type": "user", "id": "{{ nobody.id }}"}}, "to: its template cannot be"),
    "a recipient that renders to nothing": ({"to": "{{ none }}"}, "to: is missing"),
    "a connection that is not there": ({"intercom_conn_id": "gone"}, "Define the connection gone"),
    "a connection that is not told": ({"intercom_conn_id": "{{ gone.id }}"}, "intercom_conn_id: its template"),
    "a type that is none": ({"message_type": "{{ 'fax' }}"}, "message_type: 'fax' is unknown"),
    "sms without Preview": ({"message_type": "sms"}, "set api_version to Preview"),
    "a template that asks for what is not there": (
        {"key": "{{ macros.no_such_thing() }}"},
        "key: its template cannot be rendered in this callback",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_the_log_and_the_task_fails_as_it_would(
    run_dag: Any, server: Hostile, mistake: str, capfd: pytest.CaptureFixture[str]
) -> None:
    fields, said = MISTAKES[mistake]
    with DAG("mistaken") as dag:
        Fails(task_id="load", on_failure_callback=alert(**fields))
    assert run_dag(dag).states == {"load": "failed"}
    logged = capfd.readouterr().out
    assert f"ValueError: {SAYS}" in logged
    assert "The alert was not sent. " in logged
    assert said in logged
    assert "Failed to run task callback" not in logged
    assert server.requests == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_deadline_alert_is_told_in_the_log(
    server: Hostile, mistake: str, capfd: pytest.CaptureFixture[str]
) -> None:
    fields, said = MISTAKES[mistake]
    asyncio.run(awaited(**fields))
    assert said in capfd.readouterr().out
    assert server.requests == []


def test_a_wrong_literal_of_a_deadline_alert_is_told_in_the_log(
    server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(awaited(message_type="fax"))
    assert "The alert was not sent. message_type: 'fax' is unknown" in capfd.readouterr().out
    assert server.requests == []


@pytest.mark.parametrize("connection", [{"conn_type": "intercom"}, {"password": "t", "extra": {"region": "mars"}}])
def test_a_wrong_connection_is_told_in_the_log(
    run_dag: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], connection: dict[str, Any]
) -> None:
    connect(monkeypatch, {"conn_type": "intercom", **connection})
    with DAG("disconnected") as dag:
        Fails(task_id="load", on_failure_callback=alert())
    assert run_dag(dag).states == {"load": "failed"}
    assert "The alert was not sent. connection intercom_default: " in capfd.readouterr().out


@pytest.mark.usefixtures("short_pauses")
def test_a_dead_server_leaves_the_failure_as_it_is(
    run_dag: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with hostile.Hostile() as gone:
        connection = gone.connection
    connect(monkeypatch, connection, timeout=1.0)
    began = time.monotonic()
    with DAG("dead_server") as dag:
        Fails(task_id="load", on_failure_callback=alert())
    assert run_dag(dag).states == {"load": "failed"}
    assert time.monotonic() - began < 30
    logged = capfd.readouterr().out
    assert f"ValueError: {SAYS}" in logged
    assert "The alert was not sent. POST /messages: ConnectError" in logged


def test_a_text_that_cannot_be_rendered_gives_way_to_the_default(
    run_dag: Any, server: Hostile, capfd: pytest.CaptureFixture[str]
) -> None:
    with DAG("unrendered") as dag:
        Fails(
            task_id="load",
            on_failure_callback=alert(
                message_type="email", subject="{{ nothing.here }}", body="{{ deadline.deadline_time }}"
            ),
        )
    run_dag(dag)
    (said,) = bodies(server)
    assert said.startswith("Task load of DAG unrendered failed\n")
    assert "(body: its template cannot be rendered in this callback (UndefinedError: 'deadline' is undefined))" in said
    assert server.requests[0].json["subject"] == "Task load of DAG unrendered failed"
    assert "subject: its template cannot be rendered" in capfd.readouterr().out


def test_secrets_that_airflow_knows_stay_in_the_house(run_dag: Any, server: Hostile) -> None:
    from airflow.sdk.log import mask_secret

    mask_secret("correct-horse-battery")
    with DAG("secretive") as dag:
        Fails(
            task_id="load",
            says="cannot log in with correct-horse-battery",
            on_failure_callback=[
                alert(),
                alert(body="{{ exception }}", key="2"),
                alert(
                    message_type="whatsapp",
                    to={"phone": "+447900123456"},
                    template="failed",
                    components=[{"type": "BODY", "parameters": [{"type": "text", "text": "{{ exception }}"}]}],
                ),
            ],
        )
    run_dag(dag)
    first, second, third = (str(request.json) for request in server.requests)
    assert "ValueError: cannot log in with ***" in first
    assert "'cannot log in with ***'" in second
    assert "'cannot log in with ***'" in third


def test_a_long_exception_is_cut(run_dag: Any, server: Hostile) -> None:
    with DAG("long_winded") as dag:
        Fails(task_id="load", says="x" * 100_000, on_failure_callback=alert())
    run_dag(dag)
    (said,) = bodies(server)
    assert "Log: http" in said
    assert said.endswith("xxx...")
    assert len(said) < 2_100


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


ODD: dict[str, Exception] = {
    "half a character": OSError("caf\udce9.csv is gone"),
    "no text": MuteError(),
    "control characters": ValueError("a\x00b\x1b[31mc"),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"body": "{{ exception }}"},
        {"message_type": "email", "subject": "{{ exception }}", "body": "see {{ params.path }}"},
        {
            "message_type": "whatsapp",
            "to": {"phone": "+447900123456"},
            "template": "failed",
            "components": [{"type": "BODY", "parameters": [{"type": "text", "text": "{{ params.path }} failed"}]}],
        },
    ],
    ids=["default", "body", "subject", "components"],
)
def test_an_odd_text_does_not_keep_an_alert_back(server: Hostile, odd: str, fields: dict[str, Any]) -> None:
    ti = SimpleNamespace(
        dag_id="sales",
        task_id="load",
        run_id="r",
        map_index=-1,
        state="failed",
        try_number=1,
        max_tries=0,
        log_url="http://airflow/log",
    )
    context: Any = {
        "ti": ti,
        "task": SimpleNamespace(retries=0),
        "exception": ODD[odd],
        "params": {"path": "caf\udce9"},
    }
    alert(once=False, **fields)(context)
    assert len(server.created) == 1
