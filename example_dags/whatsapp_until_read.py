"""Remind a customer of an appointment by WhatsApp, and in the Messenger if they have not read it in time."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.sensors.message_status import MessageStatusSensor


@dag(
    schedule=None,
    tags=["intercom", "whatsapp"],
    params={
        "phone": Param("+447900123456", type="string", description="The customer's number, in E.164"),
        "user_id": Param("customer-1001", type="string", description="Your own id of the customer (external_id)"),
    },
)
def whatsapp_until_read() -> None:
    """Send a WhatsApp template and wait until it is read, up to four hours."""
    remind = SendMessageOperator(
        task_id="remind",
        message_type="whatsapp",
        to={"phone": "{{ params.phone }}"},
        template="appointment_tomorrow",
        locale="en",
    )
    read = MessageStatusSensor(
        task_id="wait_until_read",
        # sent=remind.output works as well. The id alone is what other systems can store.
        whatsapp_message_id=remind.output["whatsapp_message_id"],  # type: ignore[index]
        wait_for="read",
        # Customers who have switched off read receipts never count as read: do not wait for ever, and do not fail.
        on_timeout="report",
        timeout=4 * 60 * 60,
        deferrable=True,
    )

    @task.short_circuit
    def unread(delivery: Any) -> bool:
        return not delivery["read"]

    nudge = SendMessageOperator(
        task_id="nudge",
        message_type="in_app",
        to={"type": "user", "user_id": "{{ params.user_id }}"},
        body="Your appointment is <b>tomorrow</b>: we look forward to seeing you.",
    )
    unread(read.output) >> nudge


whatsapp_until_read()
