"""Deferred waits."""

from __future__ import annotations

from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.system.people import PHONE

# Airflow may fail a task that resumes within about eight seconds, because it takes the end of the first leg for the end
# of the task: https://github.com/apache/airflow/issues/72716.
with DAG("settling", schedule=None):
    SendMessageOperator(
        task_id="send",
        message_type="whatsapp",
        to={"phone": PHONE, "name": "Ada"},
        template="order_shipped",
        components=[],
        locale="en",
    ) >> MessageStatusSensor(
        task_id="wait", ruleset_id="4711", expected_count=2, deferrable=True, poke_interval=6, timeout=120
    )

with DAG("timing_out", schedule=None):
    MessageStatusSensor(
        task_id="wait",
        ruleset_id="4711",
        expected_count=2,
        on_timeout="report",
        deferrable=True,
        poke_interval=2,
        timeout=40,
    )
