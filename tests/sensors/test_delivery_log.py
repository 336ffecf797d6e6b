"""Sensors write what they learned into the ledger, in all modes, and wait no worse without it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageBatchOperator, SendMessageOperator
from intercom_provider.sensors.message_reply import MessageReplySensor
from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.support.databases import LedgerDatabase, connect_ledger

if TYPE_CHECKING:
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox

_MODES = [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LedgerDatabase:
    """Connect an SQLite file as the connection `ledger`, for all senders and sensors."""
    made = LedgerDatabase({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}, tmp_path / "ledger.db")
    connect_ledger(monkeypatch, made)
    monkeypatch.setenv("AIRFLOW__INTERCOM__LEDGER_CONN_ID", "ledger")
    return made


@pytest.mark.parametrize("mode", _MODES)
def test_the_statuses_of_a_batch_are_in_the_ledger(
    run_dag: Any, sandbox: Sandbox, ledger: LedgerDatabase, mode: dict[str, Any]
) -> None:
    sandbox.settings.speed = 1_000.0
    phones = [f"+44790019990{n}" for n in (1, 4, 5)]
    with DAG("logged") as dag:
        send = SendMessageBatchOperator(
            task_id="send",
            messages=[{"to": {"phone": phone}} for phone in phones],
            defaults={"message_type": "whatsapp", "template": "hello"},
            campaign="hello/1",
        )
        MessageStatusSensor(task_id="wait", sent=send.output, max_failed=1, poke_interval=0.2, timeout=30, **mode)
    run = run_dag(dag)
    assert run.states["wait"] == "success"
    rows = ledger.execute("SELECT delivery_status, delivery_reason, delivery_at FROM intercom_messages")
    assert sorted(row[0] for row in rows) == ["delivered", "failed", "read"]
    assert all(row[2] for row in rows)
    assert [bool(row[1]) for row in rows if row[0] == "failed"] == [True]


def test_the_time_of_an_answer_is_in_the_ledger(run_dag: Any, sandbox: Sandbox, ledger: LedgerDatabase) -> None:
    sandbox.settings.speed = 1_000.0
    with DAG("answered") as dag:
        send = SendMessageOperator(
            task_id="send", message_type="in_app", to={"type": "user", "id": "ada"}, body="Hi", campaign="hello/2"
        )
    sent = run_dag(dag).xcom("send", "id")
    sandbox.reply(str(sent))
    with DAG("answered_later") as later:
        MessageReplySensor(task_id="wait", message_id=sent, poke_interval=0.2, timeout=30)
    replied_at = run_dag(later).xcom("wait", "replied_at")
    [(at,)] = ledger.execute("SELECT strftime('%s', replied_at) FROM intercom_messages")
    assert int(at) == replied_at
    assert send


def test_a_wait_does_not_need_the_ledgers_database(
    run_dag: Any, sandbox: Sandbox, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    refusing = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "someone", "password": "a secret"}
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(refusing))
    sandbox.settings.speed = 1_000.0
    sandbox.add_ruleset("7", events=[{"whatsapp_message_id": "wamid.1=", "status": "delivered"}])
    with DAG("alone") as dag:
        MessageStatusSensor(
            task_id="wait", whatsapp_message_id="wamid.1=", ledger_conn_id="ledger", poke_interval=0.2, timeout=30
        )
    started = time.monotonic()
    run = run_dag(dag)
    assert run.xcom("wait", "reached") == 1
    assert time.monotonic() - started < 15
    assert "1 of 1 delivery statuses could not be written into the ledger" in caplog.text
