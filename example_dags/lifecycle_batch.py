"""Remind everybody whose trial is about to end, all in one task, and tell how many were reached."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, dag, task

from intercom_provider.operators.message import SendMessageBatchOperator

log = logging.getLogger(__name__)


@dag(
    schedule="0 9 * * *",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,  # a reminder of a day long past helps nobody
    tags=["intercom", "in_app", "email"],
    params={
        "results_folder": Param("results", type="string", description="A folder or URI that all workers can write to"),
    },
)
def lifecycle_batch() -> None:
    """Send an in-app message or an email to each of today's customers, and use the counts."""

    @task(show_return_value_in_logs=False)  # names have no place in a log
    def trials_that_end() -> list[dict[str, Any]]:
        # Yours would ask the warehouse. What stands here is never taken for a template: names arrive as they are.
        rows: list[dict[str, Any]] = [
            {"id": "customer-1001", "first_name": "Ada", "days": 3, "reads_email": False},
            {"id": "customer-1002", "first_name": "<b>Bob</b> {{ 1 + 1 }}", "days": 1, "reads_email": False},
            {"id": "customer-1003", "first_name": None, "days": 2, "reads_email": True},
        ]
        email = {"message_type": "email", "subject": "Your trial ends in ${days} days"}
        return [
            {
                "to": {"type": "user", "user_id": row["id"]},
                "key": f"trial-ends-{row['id']}",
                "params": {"first_name": row["first_name"], "days": row["days"]},
                **(email if row["reads_email"] else {}),
            }
            for row in rows
        ]

    send = SendMessageBatchOperator(
        task_id="send",
        messages=trials_that_end(),
        defaults={
            "message_type": "in_app",
            "body": "<p>Hello ${first_name}, your trial ends in ${days} days. <b>What is still missing?</b></p>",
            "params": {"first_name": "there"},  # for whom we know no name
        },
        max_failed=0.05,  # some are gone by the time we write to them
        not_after="{{ dag_run.run_after + macros.timedelta(hours=10) }}",  # a run that is late must not wake anybody
        results_path="{{ params.results_folder }}",
        retries=2,  # sends nobody anything twice
    )

    @task
    def report(counts: Any) -> str:
        reached = counts["sent"] + counts["already_sent"]
        text = f"{reached} of {counts['total']} reminded"
        for each in counts["reasons"]:
            log.warning("%d not reached: %s", each["count"], each["reason"])
        return text

    report(send.output)


lifecycle_batch()
