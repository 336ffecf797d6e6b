"""A mapped send over a list that has another order and one more entry after a clear."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, get_current_context, task

from intercom_provider.operators.message import SendMessageBatchOperator, SendMessageOperator

_FIRST = ["ada", "grace", "alan"]
_AFTER_A_CLEAR = ["edsger", "alan", "ada", "grace"]

with DAG("mapping", schedule=None):

    @task
    def people() -> list[dict[str, Any]]:
        names = _FIRST if get_current_context()["ti"].try_number == 1 else _AFTER_A_CLEAR
        return [{"type": "user", "user_id": name} for name in names]

    SendMessageOperator.partial(task_id="send", message_type="in_app", body="Hello").expand(to=people())

with DAG("mapping_chunks", schedule=None):

    @task
    def chunks() -> list[list[dict[str, Any]]]:
        number, size = (90, 30) if get_current_context()["ti"].try_number == 1 else (100, 25)
        # After a clear there is one more chunk, and nearly everybody is in a different chunk.
        people = [{"to": {"type": "user", "user_id": f"{index}"}} for index in range(number)]
        return [people[start : start + size] for start in range(0, number, size)]

    SendMessageBatchOperator.partial(task_id="send", defaults={"message_type": "in_app", "body": "Hello"}).expand(
        messages=chunks()
    )
