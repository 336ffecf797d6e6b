"""Waiting for messages of batches, whose ids are in XCom or on object storage."""

from __future__ import annotations

import json
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task

from intercom_provider.api import calls
from intercom_provider.api.message import parse_message
from intercom_provider.hooks.intercom import IntercomHook
from intercom_provider.sending.batch.counts import COUNT_NAMES
from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.triggers.test_message_status import deferred, events_of, revived

if TYPE_CHECKING:
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox

_MESSAGE = {"message_type": "whatsapp", "template": "hello"}
_MODES = [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}]


def send(number: int) -> list[str]:
    """Send messages and return their WhatsApp ids."""
    hook = IntercomHook()
    with hook.get_conn() as client:
        messages = (parse_message({**_MESSAGE, "to": {"phone": f"+4479{index:08}"}}) for index in range(number))
        receipts = [client.run(calls.send_message(message, hook.settings)) for message in messages]
    return [str(receipt.whatsapp_message_id) for receipt in receipts]


def known(sandbox: Sandbox, number: int, status: str) -> list[str]:
    """Add messages to the sandbox and return their WhatsApp ids."""
    ids = [f"wamid.{index}=" for index in range(number)]
    sandbox.add_ruleset("7", events=[{"whatsapp_message_id": id_, "status": status} for id_ in ids])
    return ids


def leave(ids: list[str], folder: Path | None, rejected: int = 0) -> dict[str, Any]:
    """Write the results of a batch and return its XCom."""
    if folder is not None:
        lines = [{"key": f"k{n}", "outcome": "sent", "whatsapp_message_id": id_} for n, id_ in enumerate(ids)]
        lines += [{"key": f"r{n}", "outcome": "rejected", "reason": "no contact"} for n in range(rejected)]
        folder.mkdir(parents=True)
        for part in range(2):
            text = "".join(json.dumps({"index": 0, **line}) + "\n" for line in lines[part::2])
            folder.joinpath(f"try-1-part-{part + 1}.jsonl").write_text(text)
    none = {name: 0 for name in COUNT_NAMES if name not in ("sent", "rejected")}
    return {
        "total": len(ids) + rejected,
        "sent": len(ids),
        "rejected": rejected,
        **none,
        "reasons": [{"reason": "no contact", "count": rejected}] if rejected else [],
        "whatsapp_message_ids": ids if len(ids) <= 1_000 else None,
        "results_path": str(folder) if folder is not None else None,
    }


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("mode", _MODES)
def test_messages_of_a_batch_are_waited_for(run_dag: Any, tmp_path: Path, mode: dict[str, Any]) -> None:
    left = leave(send(30), tmp_path / "batch", rejected=2)
    with DAG("batch") as dag:

        @task(task_id="send")
        def sent() -> dict[str, Any]:
            return left

        MessageStatusSensor(task_id="wait", sent=sent(), max_failed=2, poke_interval=0.2, timeout=20, **mode)
    run = run_dag(dag)
    assert run.states == {"send": "success", "wait": "success"}
    told = run.xcoms("wait")
    assert (told["total"], told["failed"], told["reached"]) == (32, 2, 30)
    assert [(each["key"], each["reason"]) for each in told["failures"]] == [("r0", "no contact"), ("r1", "no contact")]
    assert told["failed_keys"] == ["r0", "r1"]


@pytest.mark.parametrize("mode", _MODES)
def test_many_messages_of_mapped_batches_are_read_from_their_results(
    run_dag: Any, sandbox: Sandbox, tmp_path: Path, mode: dict[str, Any]
) -> None:
    ids = known(sandbox, 1_100, "delivered")
    sandbox.set_status(ids[-1], "sent")
    left = [leave(ids[:100], tmp_path / "0", rejected=1), leave(ids[100:], tmp_path / "1")]
    with DAG("large") as dag:

        @task(task_id="send")
        def sent(index: int) -> dict[str, Any]:
            return left[index]

        MessageStatusSensor(
            task_id="wait",
            sent=sent.expand(index=[0, 1]),
            max_failed=1,
            results="pending",
            results_path=str(tmp_path / "rows.jsonl"),
            poke_interval=0.2,
            timeout=4,
            on_timeout="report",
            **mode,
        )
    run = run_dag(dag)
    told = run.xcoms("wait")
    assert (told["total"], told["reached"], told["failed"], told["pending"]) == (1_101, 1_099, 1, 1)
    assert told["timed_out"] is True
    assert [each["key"] for each in told["failures"]] == ["r0"]
    [row] = [json.loads(row) for row in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert (row["whatsapp_message_id"], row["key"], row["status"]) == (ids[-1], "k999", "sent")


def test_the_trigger_of_many_messages_stores_the_path_of_their_results(sandbox: Sandbox, tmp_path: Path) -> None:
    ids = known(sandbox, 1_100, "sent")
    trigger = deferred(sent=leave(ids, tmp_path / "batch"), poke_interval=0.1, timeout=300).trigger
    stored = json.dumps(trigger.serialize()[1])
    assert len(stored) < 2_000
    assert not any(id_ in stored for id_ in ids)
    for id_ in ids:
        sandbox.set_status(id_, "read")
    (event,) = events_of(revived(trigger))
    assert event["status"] == "settled"
    assert len(json.dumps(event)) < 2_000


def test_a_wait_survives_storage_that_fails_for_a_while(sandbox: Sandbox, tmp_path: Path) -> None:
    ids = known(sandbox, 1_100, "sent")
    trigger = deferred(sent=leave(ids, tmp_path / "batch"), poke_interval=0.3, timeout=300).trigger
    part = tmp_path / "batch" / "try-1-part-1.jsonl"
    kept = part.rename(tmp_path / "kept")
    part.symlink_to(tmp_path)
    for id_ in ids:
        sandbox.set_status(id_, "read")

    # Replace the file in one step, because a missing file ends the wait.
    mending = threading.Timer(1.0, kept.replace, [part])
    mending.start()
    (event,) = events_of(revived(trigger))
    mending.join()
    assert event["status"] == "settled"


def test_deleted_results_end_the_wait_with_an_error_that_names_them(sandbox: Sandbox, tmp_path: Path) -> None:
    trigger = deferred(
        sent=leave(known(sandbox, 1_100, "sent"), tmp_path / "batch"), poke_interval=0.1, timeout=300
    ).trigger
    shutil.rmtree(tmp_path / "batch")
    (event,) = events_of(revived(trigger))
    assert (event["status"], event["transient"]) == ("error", False)
    assert f"results_path {tmp_path / 'batch'} cannot be read" in event["message"]


def test_a_large_batch_without_a_results_path_cannot_be_waited_for(
    run_dag: Any, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    left = leave([f"wamid.{n}" for n in range(1_001)], None)
    with DAG("nowhere") as dag:

        @task(task_id="send")
        def sent() -> dict[str, Any]:
            return left

        MessageStatusSensor(task_id="wait", sent=sent(), retries=2, poke_interval=0.2, timeout=20)
    run = run_dag(dag)
    assert run.states["wait"] == "failed"
    assert "set results_path on the batch" in capfd.readouterr().out
    assert not sandbox.requests
