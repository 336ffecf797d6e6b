"""DAGs for the tests: messages that were sent, refused or are on their way, and a campaign."""

from __future__ import annotations

from datetime import UTC, datetime
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

with DAG("appointments", schedule=None, tags=["intercom"], default_args=ARGS):
    remind = SendMessageBatchOperator(
        task_id="remind",
        # One of the phones is off.
        messages=[{"to": {"phone": f"+44790012{number:05}"}} for number in (1, 2, 3, 4, 99902)],
        defaults={"message_type": "whatsapp", "template": "appointment_tomorrow"},
    )
    MessageStatusSensor(task_id="wait", sent=remind.output, deferrable=True, poke_interval=5, max_failed=None)

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

with DAG("summer_sale", schedule=None, tags=["intercom"], default_args=ARGS):
    # Most arrive. Others fail, are not accepted by WhatsApp, are in the list twice or must not be messaged.
    endings = [*range(30), 99901, 199901, 299901, 99903, 199903, 0, 1, 29]
    offer = SendMessageBatchOperator(
        task_id="send",
        messages=[
            *({"to": {"phone": f"+4479{number:08}"}, "key": f"customer-{number}"} for number in endings),
            {"to": {"phone": "07900"}, "key": "customer-30"},
        ],
        defaults={"message_type": "whatsapp", "template": "summer_sale"},
        suppress=["customer-29"],
        invalid="reject",
        max_failed=None,
    )
    MessageStatusSensor(task_id="wait", sent=offer.output, poke_interval=1, max_failed=None)

with DAG("winter_offer", schedule=None, tags=["intercom"], default_args=ARGS):
    # About one a second.
    SendMessageBatchOperator(
        task_id="send",
        messages=[{"to": {"phone": f"{PHONE}{number:02}"}} for number in range(60)],
        defaults={"message_type": "whatsapp", "template": "winter_offer"},
        budget=0.006,
    )

with DAG("spring_offer", schedule=None, tags=["intercom"], default_args=ARGS):
    # Its window is closed at any moment: it opens in six to seven hours.
    opens_at = (datetime.now(UTC).hour + 7) % 24
    SendMessageBatchOperator(
        task_id="send",
        messages=[{"to": {"phone": f"{PHONE}{number:02}"}} for number in range(20)],
        defaults={"message_type": "whatsapp", "template": "spring_offer"},
        send_window=(f"{opens_at:02}:00", f"{opens_at:02}:59"),
        timezone="UTC",
    )
