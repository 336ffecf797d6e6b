"""One email to each of a list that another task gives, in another order and with one more when it is cleared."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, get_current_context, task

from intercom_provider.operators.message import SendMessageOperator

_FIRST = ["ada", "grace", "alan"]
_AFTER_A_CLEAR = ["edsger", "alan", "ada", "grace"]

with DAG("mapping", schedule=None):

    @task
    def people() -> list[dict[str, Any]]:
        names = _FIRST if get_current_context()["ti"].try_number == 1 else _AFTER_A_CLEAR
        return [{"type": "user", "user_id": name} for name in names]

    SendMessageOperator.partial(task_id="send", message_type="in_app", body="Hello").expand(to=people())
