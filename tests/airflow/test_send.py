"""Sending, as DAGs do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.sensors.message_status import MessageStatusSensor

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox

PHONE = "+447900900905"


def whatsapp(**fields: Any) -> SendMessageOperator:
    usual = {"task_id": "send", "message_type": "whatsapp", "to": {"phone": PHONE}, "template": "hello"}
    return SendMessageOperator(**{**usual, **fields})


def test_a_whatsapp_message_is_sent_and_waited_for(run_dag: Any, sandbox: Sandbox) -> None:
    with DAG("send_and_wait") as dag:
        send = whatsapp(key="order-1")
        MessageStatusSensor(task_id="wait", sent=send.output, poke_interval=0.1, timeout=20)
    run = run_dag(dag)
    assert run.states == {"send": "success", "wait": "success"}
    assert len(sandbox.messages) == 1
    receipt = run.xcoms("send")
    assert receipt["outcome"] == "sent"
    assert receipt["key"] == "order-1"
    assert receipt["reason"] is None
    assert run.xcom("wait", "reached") == 1
