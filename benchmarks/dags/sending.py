"""The same message to many: one mapped task each, and one batch for all."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from intercom_provider.operators.batch import SendMessageBatchOperator
from intercom_provider.operators.message import SendMessageOperator

with DAG("mapped", schedule=None, params={"number": 1}):

    @task
    def recipients(params: Any = None) -> list[dict[str, str]]:
        """Name some contacts."""
        return [{"type": "user", "id": f"contact-{index}"} for index in range(params["number"])]

    SendMessageOperator.partial(task_id="send", message_type="in_app", body="Hello").expand(to=recipients())

with DAG("batch", schedule=None, params={"number": 1}):

    @task
    def messages(params: Any = None) -> list[dict[str, Any]]:
        """Address a message to each of some contacts."""
        return [{"to": {"type": "user", "id": f"contact-{index}"}} for index in range(params["number"])]

    SendMessageBatchOperator(
        task_id="send", messages=messages(), defaults={"message_type": "in_app", "body": "Hello"}, budget=1.0
    )
