"""Waiting for delivery in DAGs: what is read, when it is settled, what is reported."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.support.dags import connect

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox


def event(number: int, status: str, **fields: Any) -> dict[str, Any]:
    return {"whatsapp_message_id": f"wamid.{number}=", "status": status, "user_id": f"user-{number}", **fields}


def ruleset(**fields: Any) -> MessageStatusSensor:
    usual = {"task_id": "wait", "ruleset_id": "77", "poke_interval": 0.2, "timeout": 20, "settle_for": 0.5}
    return MessageStatusSensor(**{**usual, **fields})


# In reschedule mode only the store keeps anything from one poll to the next.
_REMEMBERING = [
    {"mode": "poke"},
    pytest.param({"mode": "reschedule"}, marks=pytest.mark.needs("task_state_store")),
    {"deferrable": True},
]


@pytest.mark.parametrize("ruleset_id", ["77", 77])
@pytest.mark.parametrize("deferrable", [False, True])
def test_every_page_of_a_ruleset_is_read(
    run_dag: Any, sandbox: Sandbox, deferrable: bool, ruleset_id: str | int, capfd: pytest.CaptureFixture[str]
) -> None:
    sandbox.settings.failures = 0.1
    sandbox.settings.speed = 1000.0
    sandbox.add_ruleset("77", 1250)
    with DAG("all_pages") as dag:
        ruleset(ruleset_id=ruleset_id, deferrable=deferrable, max_failed=0.5)
    run = run_dag(dag)
    assert run.states == {"wait": "success"}
    told = run.xcoms("wait")
    assert told["total"] == 1250
    assert told["reached"] + told["pending"] + told["failed"] == 1250
    assert told["reached"] == told["delivered"] + told["read"]
    assert len(told["failed_whatsapp_message_ids"]) == told["failed"] > 0
    assert len(told["failures"]) == 10
    assert all(failure["reason"] for failure in told["failures"])
    assert "WhatsApp ruleset 77: 1250 of 1250 settled (" in capfd.readouterr().out


@pytest.mark.parametrize("mode", _REMEMBERING)
def test_an_empty_ruleset_that_fills_and_grows_is_waited_for_until_it_stops(
    run_dag: Any, sandbox: Sandbox, mode: dict[str, Any]
) -> None:
    sandbox.add_ruleset("77", 0)
    ended: list[float] = []

    def fill() -> None:
        for number in range(3):
            time.sleep(0.6)
            sandbox.add_ruleset("77", events=[event(number, "delivered")])
        ended.append(time.monotonic())

    filling = threading.Thread(target=fill)
    with DAG(f"grows_{mode.get('mode', 'deferrable')}") as dag:
        ruleset(settle_for=1.2, **mode)
    filling.start()
    run = run_dag(dag)
    filling.join()
    assert run.xcom("wait", "total") == 3
    assert time.monotonic() - ended[0] > 1.0


def test_with_an_expected_count_settle_for_does_not_matter(run_dag: Any, sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=[event(0, "read"), event(1, "delivered")])
    with DAG("expected") as dag:
        ruleset(expected_count=2, settle_for=3600)
    assert run_dag(dag).xcom("wait", "settled") is True


def test_fewer_than_expected_is_not_settled(run_dag: Any, sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=[event(0, "read")])
    with DAG("too_few") as dag:
        ruleset(expected_count=2, timeout=0.5, on_timeout="report")
    run = run_dag(dag)
    assert run.xcom("wait", "timed_out") is True
    assert run.xcom("wait", "settled") is False


def test_only_events_after_created_after_count(run_dag: Any, sandbox: Sandbox) -> None:
    old, new = 1_700_000_000, 1_760_000_000
    sandbox.add_ruleset("77", events=[event(0, "failed", created_at=old), event(1, "read", created_at=new)])
    with DAG("since") as dag:
        ruleset(created_after="2025-10-09T00:00:00Z", expected_count=1)
    told = run_dag(dag).xcoms("wait")
    assert (told["total"], told["read"], told["failed"]) == (1, 1, 0)


def test_with_wait_for_read_a_delivered_message_is_pending(run_dag: Any, sandbox: Sandbox) -> None:
    sandbox.add_ruleset("77", events=[event(0, "read"), event(1, "delivered")])
    with DAG("for_read") as dag:
        ruleset(wait_for="read", expected_count=2, timeout=0.5, on_timeout="report")
        ruleset(task_id="allowed", wait_for="read", expected_count=2, max_pending=1)
    run = run_dag(dag)
    assert run.xcom("wait", "timed_out") is True
    counts = {name: run.xcom("wait", name) for name in ("total", "reached", "pending", "failed", "delivered", "read")}
    assert counts == {"total": 2, "reached": 1, "pending": 1, "failed": 0, "delivered": 1, "read": 1}
    assert run.xcom("allowed", "settled") is True


def test_an_unknown_status_counts_as_pending_and_is_logged_once(
    run_dag: Any, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.add_ruleset("77", events=[event(0, "teleported"), event(1, "delivered")])
    with DAG("unknown_status") as dag:
        ruleset(expected_count=2, timeout=0.7, on_timeout="report")
    run = run_dag(dag)
    assert (run.xcom("wait", "pending"), run.xcom("wait", "total")) == (1, 2)
    assert caplog.text.count("'teleported'") == 1


@pytest.mark.parametrize(
    ("results", "numbers"), [("failed", {1}), ("pending", {2}), ("not_reached", {1, 2}), ("all", {0, 1, 2})], ids=str
)
def test_results_decides_which_messages_get_a_row(
    run_dag: Any, sandbox: Sandbox, tmp_path: Path, results: str, numbers: set[int]
) -> None:
    sandbox.add_ruleset("77", events=[event(0, "delivered"), event(1, "failed"), event(2, "sent")])
    path = f"{tmp_path}/rows/{{{{ run_id }}}}.jsonl"
    with DAG("rows") as dag:
        ruleset(expected_count=3, max_pending=1, max_failed=None, results_path=path, results=results)
    run = run_dag(dag)
    written = run.xcom("wait", "results_path")
    assert written == f"{tmp_path}/rows/{run.run_id}.jsonl"
    rows = [json.loads(line) for line in Path(written).read_text().splitlines()]
    assert {row["whatsapp_message_id"] for row in rows} == {f"wamid.{number}=" for number in numbers}
    assert set(rows[0]) == {
        *("whatsapp_message_id", "key", "conversation_id", "user_id", "status", "reason", "template_name", "updated_at")
    }
    assert all(row["reason"] for row in rows if row["status"] == "failed")


def test_rows_are_written_even_when_the_wait_fails(run_dag: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.add_ruleset("77", events=[event(0, "failed")])
    with DAG("rows_of_failure") as dag:
        ruleset(expected_count=1, results_path=f"{tmp_path}/rows.jsonl")
    run = run_dag(dag)
    assert run.states == {"wait": "failed"}
    assert run.xcom("wait", "failed_user_ids") == ["user-0"]
    assert json.loads((tmp_path / "rows.jsonl").read_text())["user_id"] == "user-0"


def test_an_unknown_whatsapp_id_is_pending_at_first(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("not_yet") as dag:
        MessageStatusSensor(
            task_id="wait", whatsapp_message_id="wamid.none=", poke_interval=0.2, timeout=0.7, on_timeout="report"
        )
    run = run_dag(dag)
    assert run.states == {"wait": "success"}
    assert (run.xcom("wait", "total"), run.xcom("wait", "pending")) == (1, 1)
    assert len(sandbox.requests) >= 3


class SlowStore:
    """A state store backend of Airflow's that takes its time to write."""

    def serialize_task_state_store_to_ref(self, value: Any, **_: Any) -> str:
        time.sleep(1.1)
        return json.dumps(value)

    def deserialize_task_state_store_from_ref(self, stored: str) -> Any:
        return json.loads(stored)


@pytest.mark.needs("task_state_store")
def test_a_deadline_that_passes_while_the_state_is_written_is_reported(
    run_dag: Any, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time.context import _get_worker_state_store_backend

    sandbox.add_ruleset("77", events=[event(0, "sent")])
    monkeypatch.setenv("AIRFLOW__WORKERS__STATE_STORE_BACKEND", f"{__name__}.SlowStore")
    _get_worker_state_store_backend.cache_clear()
    try:
        with DAG("slow_store") as dag:
            ruleset(expected_count=1, timeout=1.0, on_timeout="report", mode="reschedule")
        run = run_dag(dag)
    finally:
        _get_worker_state_store_backend.cache_clear()
    assert run.states == {"wait": "success"}
    assert run.xcom("wait", "timed_out") is True


def test_an_old_api_version_is_refused(
    run_dag: Any, sandbox: Sandbox, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, sandbox.connection, api_version="2.15")
    with DAG("old") as dag:
        ruleset(retries=3)
    assert run_dag(dag).states == {"wait": "failed"}
    assert "needs 2.16 or later" in capfd.readouterr().out
    assert sandbox.requests == []


@pytest.mark.parametrize("mode", [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}])
def test_a_wrong_token_ends_the_wait_at_once_with_advice(
    run_dag: Any,
    sandbox: Sandbox,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    mode: dict[str, Any],
) -> None:
    connect(monkeypatch, {**sandbox.connection, "password": "wrong-token-entirely"})
    with DAG(f"wrong_token_{mode.get('mode', 'deferrable')}") as dag:
        ruleset(retries=3, expected_count=1, **mode)
    assert run_dag(dag).states == {"wait": "failed"}
    said = capfd.readouterr().out
    assert "regenerated" in said
    assert "wrong-token-entirely" not in said
    assert len(sandbox.requests) == 1


def test_a_sent_that_is_empty_is_settled_with_nothing(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("nothing") as dag:
        MessageStatusSensor(task_id="wait", sent=[], poke_interval=0.2, timeout=5)
    run = run_dag(dag)
    assert run.states == {"wait": "success"}
    assert run.xcom("wait", "total") == 0
    assert sandbox.requests == []


@pytest.mark.parametrize("mode", _REMEMBERING)
def test_a_long_list_is_read_in_full_at_the_beginning_and_at_the_end(
    run_dag: Any, sandbox: Sandbox, mode: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    sandbox.add_ruleset("77", events=[event(number, "sent") for number in range(2_500)])

    def until_asked(times: int) -> None:
        until = time.time() + 20
        while len(sandbox.requests) < times and time.time() < until:
            time.sleep(0.02)

    def settle() -> None:
        until_asked(25)
        for number in range(2_500):
            if number == 1_250:
                # The pages before are polled one by one. The next poll finds nothing new on them.
                until_asked(len(sandbox.requests) + 14)
            sandbox.set_status(f"wamid.{number}=", "failed" if number % 10 == 0 else "delivered")

    settling = threading.Thread(target=settle)
    with DAG(f"long_{mode.get('mode', 'deferrable')}") as dag:
        ruleset(expected_count=2_500, max_failed=None, **mode)
    settling.start()
    run = run_dag(dag)
    settling.join()
    assert run.states == {"wait": "success"}
    told = run.xcoms("wait")
    assert (told["total"], told["delivered"], told["failed"], told["settled"]) == (2_500, 2_250, 250, True)
    assert len(told["failed_whatsapp_message_ids"]) == 250
    said = capfd.readouterr().out
    assert "pages 1-12 of 25 settled; waiting on page 13" in said
    assert len(sandbox.requests) <= 3 * 25 + said.count("waiting on page") + len(told["failures"]) + 1


def test_settled_single_messages_are_not_polled_again_and_failures_keep_their_reasons(
    run_dag: Any, sandbox: Sandbox, tmp_path: Path
) -> None:
    ids = [f"wamid.{number}=" for number in range(12)]
    failure = {"message": "Message undeliverable", "details": "no phone"}
    events = [event(number, "failed", error=failure, conversation_id=f"c{number}") for number in range(11)]
    sandbox.add_ruleset("77", events=[*events, event(11, "sent")])

    def settle() -> None:
        until = time.time() + 20
        while len(sandbox.requests) < 14 and time.time() < until:
            time.sleep(0.02)
        sandbox.set_status(ids[11], "read")

    settling = threading.Thread(target=settle)
    with DAG("singly") as dag:
        MessageStatusSensor(
            task_id="wait",
            whatsapp_message_id=ids,
            max_failed=None,
            results_path=f"{tmp_path}/rows.jsonl",
            deferrable=True,
            poke_interval=0.2,
            timeout=20,
        )
    settling.start()
    run = run_dag(dag)
    settling.join()
    assert run.states == {"wait": "success"}
    assert {each["reason"] for each in run.xcom("wait", "failures")} == {"Message undeliverable: no phone"}
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [(row["reason"], row["conversation_id"]) for row in rows] == [
        ("Message undeliverable: no phone", f"c{number}") for number in range(11)
    ]
    # All of them once, those that failed once more for their rows, and the one that was pending at every poll.
    asked = [request.params["message_id"] for request in sandbox.requests]
    assert {each: asked.count(each) for each in ids[:11]} == dict.fromkeys(ids[:11], 2)


@pytest.mark.parametrize("field", ["sent", "whatsapp_message_id"])
def test_an_error_names_the_sender_that_left_nothing_in_xcom(run_dag: Any, sandbox: Sandbox, field: str) -> None:
    failures: list[str] = []
    with DAG("nothing_left") as dag:
        # As a sender that a person has marked as success.
        marked = EmptyOperator(task_id="send_hello")
        target: dict[str, Any] = {field: marked.output}
        MessageStatusSensor(
            task_id="wait",
            **target,
            on_failure_callback=lambda context: failures.append(str(context["exception"])),
        )
    assert run_dag(dag).states == {"send_hello": "success", "wait": "failed"}
    assert failures[0].startswith(f"{field}: there is nothing in the XCom of send_hello.")
    assert not sandbox.messages
