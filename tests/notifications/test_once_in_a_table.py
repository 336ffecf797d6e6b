"""Alerts where a ledger is configured: once on every Airflow, and none kept back by its database."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from airflow.sdk import DAG

from intercom_provider.notifications.once import MAX_DATABASE_SECONDS
from tests.notifications.test_alert import task_context
from tests.support.alerts import Fails, alert, bodies
from tests.support.hostile import drop, never_accepting

if TYPE_CHECKING:
    from tests.support.databases import LedgerDatabase
    from tests.support.hostile import Hostile


@pytest.fixture(autouse=True)
def _configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__INTERCOM__LEDGER_CONN_ID", "ledger")


def failing(dag_id: str) -> DAG:
    """Make a DAG whose task fails and alerts one person by two notifiers."""
    with DAG(dag_id) as dag:
        Fails(task_id="load", on_failure_callback=[alert(), alert()])
    return dag


def test_one_person_is_alerted_once_by_two_notifiers(run_dag: Any, server: Hostile, database: LedgerDatabase) -> None:
    run = run_dag(failing("sales"))
    assert len(bodies(server)) == 1
    rows = database.execute("SELECT campaign, task_id, message_type, outcome, scope FROM intercom_messages")
    assert rows == [(None, "load", "inapp", "sent", f"a:sales/{run.run_id}/load/-1/failed")]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("database")
def test_a_task_that_was_cleared_alerts_again(server: Hostile) -> None:
    def fail(number: int, max_tries: int) -> int:
        """Alert of a failed try, and return the number of alerts so far."""
        task = SimpleNamespace(retries=0)
        context: Any = task_context("failed", number=number, max_tries=max_tries, task=task)
        alert().notify(context)
        return len(server.created)

    assert [fail(1, 0), fail(1, 0), fail(2, 1), fail(2, 1)] == [1, 1, 2, 2]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_may_have_been_sent_is_not_repeated(run_dag: Any, server: Hostile, database: LedgerDatabase) -> None:
    server.script(drop(created=True))
    run_dag(failing("unsure"))
    assert len(server.created) == 1
    assert database.execute("SELECT outcome FROM intercom_messages") == [("unconfirmed",)]


def test_a_database_that_does_not_answer_keeps_no_alert_back(
    run_dag: Any, server: Hostile, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with never_accepting() as silent, DAG("hanging") as dag:
        Fails(task_id="load", on_failure_callback=alert())
        address = httpx.URL(silent)
        connection = {"conn_type": "postgres", "host": address.host, "port": address.port}
        monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(connection))
        run = run_dag(dag)
    assert run.states == {"load": "failed"}
    assert len(bodies(server)) == 1
    assert "This alert cannot be recorded, so it may be sent once more" in capfd.readouterr().out


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_locked_database_is_waited_for_two_seconds_once(
    run_dag: Any, server: Hostile, database: LedgerDatabase, capfd: pytest.CaptureFixture[str]
) -> None:
    assert database.file is not None
    run_dag(failing("first"))
    with closing(sqlite3.connect(database.file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with DAG("locked") as dag:
            Fails(task_id="load", on_failure_callback=alert())
        run_dag(dag)
    assert len(bodies(server)) == 2
    # The wait for the lock is given up before the database's own time-out.
    assert f"did not answer within {MAX_DATABASE_SECONDS:.0f} s" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        ({"conn_type": "mysql", "host": "db"}, "is of type mysql"),
        ({"conn_type": "sqlite", "host": "/nowhere/ledger.db"}, "unable to open database file"),
        (None, "Airflow has no connection ledger"),
    ],
)
def test_a_ledger_that_cannot_be_used_keeps_no_alert_back(
    run_dag: Any,
    server: Hostile,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    connection: dict[str, Any] | None,
    words: str,
) -> None:
    if connection is not None:
        monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(connection))
    with DAG("without") as dag:
        Fails(task_id="load", on_failure_callback=alert())
    run_dag(dag)
    assert len(bodies(server)) == 1
    logged = capfd.readouterr().out
    assert "This alert cannot be recorded" in logged
    assert words in logged
