"""Message the customers whose trial is three days old, once a day, in the Messenger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import dag, task

from intercom_provider.operators.message import SendMessageOperator


@dag(
    schedule="0 9 * * *",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,  # no messages for days that are past
    tags=["intercom", "in_app"],
)
def daily_lifecycle() -> None:
    """Send a message to each of a few contacts, in a mapped task each."""

    @task
    def due_today() -> list[dict[str, Any]]:
        # Replace this with a query of your warehouse. Return ids only: Airflow renders the mapped values as Jinja
        # templates, so text that people have written must not be among them.
        customers = ["customer-1001", "customer-1002", "customer-1003"]
        return [{"to": {"type": "user", "user_id": each}, "key": f"trial-day-3-{each}"} for each in customers]

    SendMessageOperator.partial(
        task_id="send",
        message_type="in_app",
        body="Three days in: may we show you <b>what others do next</b>?",
        not_after="{{ dag_run.run_after + macros.timedelta(hours=10) }}",  # a late run must not send at night
        max_active_tis_per_dagrun=4,
        retries=2,
    ).expand_kwargs(due_today())


daily_lifecycle()
