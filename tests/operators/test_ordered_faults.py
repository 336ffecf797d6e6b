"""What senders make of the refusals and faults that can be ordered from the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageBatchOperator, SendMessageOperator

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox


def send(run_dag: Any, **fields: Any) -> Any:
    """Run a DAG that sends one message, and return its receipt."""
    with DAG("ordered") as dag:
        usual = {"task_id": "send", "message_type": "email", "template": "plain", "subject": "Hi", "body": "Hello"}
        SendMessageOperator(**{**usual, **fields})
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    return run.xcoms("send")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"to": {"type": "user", "user_id": "unsubscribed-ada"}}, "from emails"),
        ({"to": {"type": "user", "user_id": "plan-ada"}}, "plan"),
        ({"to": {"type": "user", "user_id": "permission-ada"}}, "permission"),
        ({"to": {"type": "user", "user_id": "merged-ada"}}, "merged"),
        ({"to": {"type": "user", "user_id": "ada"}, "from_admin_id": 814862}, "admin"),
    ],
)
def test_a_refused_message_is_rejected(run_dag: Any, sandbox: Sandbox, fields: Any, reason: str) -> None:
    receipt = send(run_dag, **fields)
    assert receipt["outcome"] == "rejected"
    assert reason in receipt["reason"]
    assert sandbox.messages == []


@pytest.mark.parametrize(("name", "messages"), [("error-ada", 0), ("cut-ada", 1)])
def test_a_message_without_an_answer_is_unconfirmed_whether_it_exists_or_not(
    run_dag: Any, sandbox: Sandbox, name: str, messages: int
) -> None:
    receipt = send(run_dag, to={"type": "user", "user_id": name}, retries=1)
    assert receipt["outcome"] == "unconfirmed"
    assert len(sandbox.messages) == messages


@pytest.mark.parametrize(("fault", "outcome"), [("permission", "rejected"), ("cut", "unconfirmed")])
def test_a_batch_stops_when_every_message_meets_the_same_fault(
    run_dag: Any, sandbox: Sandbox, fault: str, outcome: str
) -> None:
    sandbox.order_fault(fault, endpoint="POST /messages")
    with DAG("stopped") as dag:
        SendMessageBatchOperator(
            task_id="send",
            messages=[{"to": {"type": "user", "id": str(number)}} for number in range(300)],
            defaults={"message_type": "in_app", "body": "Hi"},
        )
    run = run_dag(dag)
    assert run.states == {"send": "failed"}
    assert 1 <= run.xcom("send", outcome) < 300
    assert run.xcom("send", "not_sent") == 300 - run.xcom("send", outcome)
    assert run.xcom("send", "sent") == 0
    assert len(sandbox.messages) == (run.xcom("send", "unconfirmed") if fault == "cut" else 0)
