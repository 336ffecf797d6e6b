"""What people look at in Airflow: a message that was sent, one that was refused, and a campaign."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from intercom_provider.operators.message import SendMessageBatchOperator, SendMessageOperator
from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.browser.people import BODY, CODE, NAME, PHONE

ARGS = {"intercom_conn_id": "intercom_shop"}

with DAG("order_shipped", schedule=None, tags=["intercom"], default_args=ARGS):
    SendMessageOperator(
        task_id="tell_customer",
        message_type="in_app",
        to={"type": "user", "user_id": "ada"},
        body=BODY,
        create_conversation_without_contact_reply=True,
        key="order-1001",
    )

with DAG("order_refunded", schedule=None, tags=["intercom"], default_args=ARGS):
    SendMessageOperator(
        task_id="tell_customer",
        message_type="in_app",
        to={"type": "user", "user_id": "unknown-ada"},
        body=BODY,
        contact_wait=0,
    )

with DAG("autumn_offer", schedule=None, tags=["intercom"], default_args=ARGS):

    @task
    def customers() -> list[dict[str, Any]]:
        to = [{"phone": f"{PHONE}{number:02}", "name": NAME} for number in range(20)]
        return [{"to": each, "params": {"code": f"{CODE}-{number}"}} for number, each in enumerate(to)]

    send = SendMessageBatchOperator(
        task_id="send",
        messages=customers(),
        defaults={
            "message_type": "whatsapp",
            "template": "autumn_offer",
            "components": [{"type": "BODY", "parameters": [{"type": "text", "text": "${code}"}]}],
        },
    )
    MessageStatusSensor(task_id="wait", sent=send.output, poke_interval=1)
