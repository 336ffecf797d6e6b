"""Batches with rows that are wrong, as DAGs meet them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageBatchOperator
from tests.support.results import read_last_try

if TYPE_CHECKING:
    import pytest

    from intercom_provider.sandbox import Sandbox

DEFAULTS = {"message_type": "in_app", "body": "Hi"}


def users(number: int) -> list[dict[str, Any]]:
    return [{"to": {"type": "user", "id": f"{index}"}} for index in range(number)]


def batch(messages: Any, **fields: Any) -> SendMessageBatchOperator:
    return SendMessageBatchOperator(task_id="send", messages=messages, defaults=DEFAULTS, **fields)


def test_messages_that_are_wrong_are_rejected_and_the_others_sent(
    run_dag: Any, sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"to": user["to"]} for user in users(40)]
    for place in (3, 9, 20):
        rows[place] = {"to": {"type": "user", "email": "no address"}}
    lines = [json.dumps(row) for row in rows]
    lines[30] = "{broken"
    path = tmp_path / "messages.jsonl"
    path.write_text("\n".join(lines))
    with DAG("rejects") as dag:
        batch(str(path), invalid="reject", max_failed=4, results_path=str(tmp_path / "results"))
    run = run_dag(dag)
    assert run.states == {"send": "success"}
    told = run.xcoms("send")
    assert (told["total"], told["sent"], told["rejected"]) == (40, 36, 4)
    assert sorted((reason["count"], reason["first"]) for reason in told["reasons"]) == [(1, [31]), (3, [4, 10, 21])]
    # Also where the task is a success, and before the first message goes out.
    assert "4 of 40 messages are wrong and will be rejected:" in caplog.text
    assert "(3 times: line 4, 10, 21)" in caplog.text
    assert len(sandbox.messages) == 36
    rejected = [line for line in read_last_try(Path(told["results_path"])) if line["outcome"] == "rejected"]
    assert [line["index"] for line in rejected] == [3, 9, 20, 30]
    assert all(line["reason"] for line in rejected)


def test_the_error_of_a_batch_that_is_wrong_names_causes_and_the_way_on(run_dag: Any, sandbox: Sandbox) -> None:
    failures: list[str] = []
    rows = [{"to": {"phone": 447900123456.0}}, *users(3), {"to": {"phone": 447900123457.0}}]
    with DAG("causes") as dag:
        batch(
            "{{ params.rows | tojson }}",
            params={"rows": rows},
            on_failure_callback=lambda context: failures.append(str(context["exception"])),
        )
    assert run_dag(dag).states == {"send": "failed"}
    assert "(2 times: index 0, 4)" in failures[0]
    assert '2 of 5 are wrong, and nothing was sent. With invalid="reject"' in failures[0]
    assert not sandbox.messages


def test_params_that_no_text_asks_for_are_told_once(
    run_dag: Any, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with DAG("unused") as dag:
        batch([{**user, "params": {"first_name": "Ada", "city": "Rome"}} for user in users(20)])
    assert run_dag(dag).states == {"send": "success"}
    assert len(sandbox.messages) == 20
    assert caplog.text.count("No text asks for these params, with ${name}: city, first_name") == 1
