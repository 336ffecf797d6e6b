"""Waits that the triggerer does."""

from __future__ import annotations

from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.sensors.message_status import MessageStatusSensor
from tests.system.people import PHONE

# A task that resumes within some eight seconds can be failed by Airflow itself, which takes the end of its
# first leg for the end of it all: https://github.com/apache/airflow/issues/72716.
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
