"""Welcome the customers whose trial is three days old, each in the Messenger, once a day."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import dag, task

from intercom_provider.operators.message import SendMessageOperator


@dag(
    schedule="0 9 * * *",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,  # a message about a day long past helps nobody
    tags=["intercom", "in_app"],
)
def daily_lifecycle() -> None:
    """Send each of a handful of contacts a message of their own by mapping."""

    @task
    def due_today() -> list[dict[str, Any]]:
        # Yours would ask the warehouse. Ids only: Airflow takes Jinja in what expand_kwargs maps for templates,
        # so words that people wrote have no place here.
        customers = ["customer-1001", "customer-1002", "customer-1003"]
        return [{"to": {"type": "user", "user_id": each}, "key": f"trial-day-3-{each}"} for each in customers]

    SendMessageOperator.partial(
        task_id="send",
        message_type="in_app",
        body="Three days in: may we show you <b>what others do next</b>?",
        not_after="{{ dag_run.run_after + macros.timedelta(hours=10) }}",  # a run that is late must not wake anybody
        max_active_tis_per_dagrun=4,
        retries=2,
    ).expand_kwargs(due_today())


daily_lifecycle()
