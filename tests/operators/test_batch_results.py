"""The results of a batch operator: whose they are, and storage that hangs."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from intercom_provider.operators.batch import SendMessageBatchOperator
from intercom_provider.results.reader import Owner, TryResults
from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.support.storage import hanging_storage

if TYPE_CHECKING:
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox
    from tests.support.hostile import Hostile

IN_APP = {"message_type": "in_app", "body": "Hi", "from_admin_id": "814860"}


def people(number: int) -> list[dict[str, Any]]:
    return [{"to": {"type": "user", "id": f"{index}"}} for index in range(number)]


def test_two_dags_with_one_results_path_each_read_their_own(run_dag: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    for dag_id, phone in (("shop", "+447900200001"), ("news", "+447900200002")):
        with DAG(dag_id) as dag:
            send = SendMessageBatchOperator(
                task_id="send",
                messages=[{"to": {"phone": phone}, "key": f"{dag_id}-{index}"} for index in range(5)],
                defaults={"message_type": "whatsapp", "template": "hello", "locale": "en", "from_admin_id": "814860"},
                results_path=str(tmp_path),
            )
            MessageStatusSensor(
                task_id="wait",
                sent=send.output,
                results="all",
                results_path=str(tmp_path / f"{dag_id}.jsonl"),
                poke_interval=0.2,
            )
        run = run_dag(dag)
        assert run.states == {"send": "success", "wait": "success"}
        (left,) = TryResults.of_tries(run.xcom("send", "results_path"))
        assert left.owner() == Owner(dag_id, run.run_id, "send", -1)
        keys = {f"{dag_id}-{index}" for index in range(5)}
        assert {line.key for line in left.lines()} == keys
        rows = (tmp_path / f"{dag_id}.jsonl").read_text().splitlines()
        assert {json.loads(row)["key"] for row in rows} == keys
    assert len(sandbox.messages) == 10


def test_an_execution_timeout_is_heard_although_the_storage_hangs(run_dag: Any, server: Hostile) -> None:
    with hanging_storage() as storage, DAG("dead_storage") as dag:
        storage.hang("-part-")
        SendMessageBatchOperator(
            task_id="send",
            messages=people(20),
            defaults=IN_APP,
            results_path=storage.path,
            execution_timeout=timedelta(seconds=3),
        )
        run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert len(server.created) == 20
    assert (run.xcom("send", "sent"), run.xcom("send", "results_path")) == (20, None)
