"""Batches that may kill themselves, that retry, or that have a short execution timeout."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import DAG, Asset, task

from intercom_provider.operators.message import SendMessageBatchOperator
from tests.system.people import BODY

if TYPE_CHECKING:
    from airflow.sdk import Context


class Deadly:
    """A task state store that ends the task with SIGKILL as soon as it has written the first intents."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def get(self, key: str) -> Any:
        return self._store.get(key)

    def set(self, key: str, value: Any, **how: Any) -> None:
        self._store.set(key, value, **how)
        if isinstance(value, dict) and value.get("intents"):
            os.kill(os.getpid(), signal.SIGKILL)


class Sender(SendMessageBatchOperator):
    """Gets a deadly store, if it is to die, before its ledger is opened, which happens when it is rendered."""

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        if context["params"]["die"] and context["ti"].try_number == 1:
            context["task_state_store"] = Deadly(context["task_state_store"])  # type: ignore[typeddict-item]
        super().render_template_fields(context, jinja_env)


PARAMS: Final = {
    "messages": "",
    "results_path": "",
    "repeat": "never",
    "die": False,
    "conn": "intercom_sandbox",
    "first_conn": None,
}
USUAL: Final[dict[str, Any]] = {
    "task_id": "send",
    "messages": "{{ params.messages }}",
    "defaults": {"message_type": "whatsapp", "template": "order_shipped"},
    "results_path": "{{ params.results_path }}",
    "repeat": "{{ params.repeat }}",
    "intercom_conn_id": "{{ params.first_conn if params.first_conn and ti.try_number == 1 else params.conn }}",
    "retry_delay": timedelta(seconds=1),
}

with DAG("batch", schedule=None, params=PARAMS):
    # A variable, because a test changes it after the run has started, when its params are fixed.
    Sender(**USUAL, retries=2, on_unconfirmed="{{ var.value.get('on_unconfirmed', 'fail') }}")

with DAG("batch_of_a_campaign", schedule=None, params=PARAMS):
    SendMessageBatchOperator(**USUAL, retries=12, max_failed=None)

with DAG("batch_without_time", schedule=None, params=PARAMS):
    SendMessageBatchOperator(**USUAL, retries=12, execution_timeout=timedelta(seconds=4))

with DAG("batch_of_a_task", schedule=None):

    @task
    def people() -> list[dict[str, Any]]:
        return [{"to": {"type": "user", "user_id": name}, "params": {"name": name}} for name in ("ada", "grace")]

    defaults = {"message_type": "in_app", "body": f"{BODY}, ${{name}}"}
    SendMessageBatchOperator(
        task_id="send", messages=people(), defaults=defaults, outlets=[Asset("intercom://batch_of_a_task")]
    )
