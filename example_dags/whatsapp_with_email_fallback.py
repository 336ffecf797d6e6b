"""Notify a customer by WhatsApp that the parcel is on its way, or by email if WhatsApp does not reach them."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.sensors.message_status import MessageStatusSensor


@dag(
    schedule=None,
    tags=["intercom", "whatsapp", "email"],
    params={
        "phone": Param("+447900123456", type="string", description="The customer's number, in E.164"),
        "user_id": Param("customer-1001", type="string", description="Your own id of the customer (external_id)"),
        "order": Param("A-1001", type="string", description="The order that was shipped"),
    },
)
def whatsapp_with_email_fallback() -> None:
    """Send a WhatsApp template, wait for its delivery, and send an email if it does not arrive."""
    send = SendMessageOperator(
        task_id="send_whatsapp",
        message_type="whatsapp",
        to={"phone": "{{ params.phone }}"},
        template="order_shipped",
        locale="en",
        components=[{"type": "body", "parameters": [{"type": "text", "text": "{{ params.order }}"}]}],
        key="{{ params.order }}",
        # A number that is not on WhatsApp gets an email instead and must not fail the task. An unconfirmed message
        # still fails it, because the email might be a second message.
        on_rejected="report",
    )
    wait = MessageStatusSensor(
        task_id="wait_for_delivery",
        sent=send.output,
        # A failed message, or one not delivered within six hours, does not fail the task: `choose` decides.
        max_failed=None,
        on_timeout="report",
        timeout=6 * 60 * 60,
        deferrable=True,
    )

    @task.branch
    def choose(delivery: Any) -> list[str]:
        return [] if delivery["reached"] else ["send_email"]

    email = SendMessageOperator(
        task_id="send_email",
        message_type="email",
        to={"type": "user", "user_id": "{{ params.user_id }}"},
        subject="Your order {{ params.order }} is on its way",
        body="Good news: your order {{ params.order }} has left our warehouse.",
        body_format="text",
        key="{{ params.order }}",
    )
    choose(wait.output) >> email


whatsapp_with_email_fallback()
