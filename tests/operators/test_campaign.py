"""Messages of a campaign go out once, whichever task, run or DAG sends them: the ledger as a table."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.operators.message import SendMessageBatchOperator, SendMessageOperator

if TYPE_CHECKING:
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Connect an SQLite file as the connection `ledger`."""
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


def rows(path: Path, columns: str = "*") -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as connection:
        return connection.execute(f"SELECT {columns} FROM intercom_messages ORDER BY claimed_at, attempt").fetchall()  # noqa: S608 - our own


def to(number: int) -> dict[str, Any]:
    return {"to": {"type": "user", "user_id": f"customer-{number}"}}


def single(dag_id: str, number: int = 1, **more: Any) -> DAG:
    with DAG(dag_id) as dag:
        fields = {"message_type": "in_app", **to(number), "ledger_conn_id": "ledger", "campaign": "welcome/1", **more}
        SendMessageOperator(task_id="send", body="Hello", **fields)
    return dag


def batch(dag_id: str, numbers: range, **more: Any) -> DAG:
    with DAG(dag_id) as dag:
        SendMessageBatchOperator(
            task_id="send",
            **{
                "messages": [to(number) for number in numbers],
                "defaults": {"message_type": "in_app", "body": "Hello"},
                "ledger_conn_id": "ledger",
                "campaign": "welcome/1",
                **more,
            },
        )
    return dag


def test_another_dag_does_not_send_what_the_campaign_has_sent(run_dag: Any, sandbox: Sandbox, ledger: Path) -> None:
    first = run_dag(single("monday"))
    second = run_dag(single("tuesday"))
    assert first.xcom("send", "outcome") == "sent"
    assert second.xcom("send", "outcome") == "already_sent"
    assert second.xcom("send", "id") == first.xcom("send", "id")
    assert f"DAG monday, run {first.run_id}, task send" in second.xcom("send", "reason")
    assert len(sandbox.messages) == 1
    assert rows(ledger, "campaign, outcome, dag_id, attempt") == [("welcome/1", "sent", "monday", 1)]


def test_a_batch_sends_only_whom_the_campaign_has_not_reached(run_dag: Any, sandbox: Sandbox, ledger: Path) -> None:
    run_dag(batch("monday", range(30)))
    run = run_dag(batch("tuesday", range(20, 50)))
    assert run.states == {"send": "success"}
    assert {name: run.xcom("send", name) for name in ("total", "sent", "already_sent", "claimed")} == {
        "total": 30,
        "sent": 20,
        "already_sent": 10,
        "claimed": 0,
    }
    assert len(sandbox.messages) == 50
    assert len(rows(ledger)) == 50


@pytest.mark.usefixtures("ledger")
def test_without_a_campaign_a_run_of_its_own_sends_again(run_dag: Any, sandbox: Sandbox) -> None:
    for dag_id in ("monday", "tuesday"):
        assert run_dag(single(dag_id, campaign=None)).xcom("send", "outcome") == "sent"
    assert len(sandbox.messages) == 2


@pytest.mark.usefixtures("sandbox")
def test_a_refused_message_holds_nobody_back(run_dag: Any, ledger: Path) -> None:
    refused = run_dag(
        single("monday", to={"type": "user", "id": "unknown-1"}, key="k", contact_wait=0, on_rejected="report")
    )
    assert refused.xcom("send", "outcome") == "rejected"
    assert run_dag(single("tuesday", key="k")).xcom("send", "outcome") == "sent"
    assert rows(ledger, "attempt, outcome, key") == [(1, "rejected", "k"), (2, "sent", "k")]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ledger_conn_id": None}, "campaign: needs a ledger that all runs share"),
        ({"repeat": "always"}, "repeat: cannot be always within a campaign"),
        ({"campaign": None, "repeat_after": "7d"}, "repeat_after: needs a campaign"),
        ({"repeat_after": "a week"}, "repeat_after: must be a timedelta above 0"),
        ({"timezone": "Mars", "repeat_after": "7d"}, "timezone: must be the name of a time zone"),
        ({"campaign": "x" * 201}, "campaign: must be a name"),
    ],
)
def test_options_that_contradict_are_refused_as_the_dag_is_parsed(fields: dict[str, Any], words: str) -> None:
    for make in (lambda: single("wrong", **fields), lambda: batch("wrong", range(1), **fields)):
        with pytest.raises(InvalidFieldError, match=words):
            make()


@pytest.mark.usefixtures("ledger")
def test_a_message_of_another_type_is_not_sent_and_the_reason_says_so(
    run_dag: Any, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    run_dag(batch("monday", range(3), messages=[{**to(number), "key": number} for number in range(3)]))
    words = "as a message of type inapp and not email: give each its own campaign or key"
    mail: dict[str, Any] = {"message_type": "email", "subject": "Hello", "template": "plain"}
    one = run_dag(single("tuesday", key=1, **mail))
    assert one.xcom("send", "outcome") == "already_sent"
    assert words in one.xcom("send", "reason")
    many = run_dag(
        batch(
            "wednesday",
            range(3),
            messages=[{**to(number), "key": number} for number in range(3)],
            defaults={"body": "Hello", **mail},
        )
    )
    assert many.xcom("send", "already_sent") == 3
    warnings = [record.getMessage() for record in caplog.records if words in record.getMessage()]
    assert len(warnings) == 2
    assert len(sandbox.messages) == 3
