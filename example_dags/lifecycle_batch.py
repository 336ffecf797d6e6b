"""Remind all customers whose trial is about to end, in one task, and report how many were reached."""

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
    catchup=False,  # no reminders for days that are past
    tags=["intercom", "in_app", "email"],
    params={
        "results_folder": Param("results", type="string", description="A folder or URI that all workers can write to"),
    },
)
def lifecycle_batch() -> None:
    """Send an in-app message or an email to each of today's customers, and read the counts."""

    @task(show_return_value_in_logs=False)  # keeps names out of the log
    def trials_that_end() -> list[dict[str, Any]]:
        # Replace this with a query of your warehouse. These values are not rendered as templates: names arrive as they
        # are.
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
            "params": {"first_name": "there"},  # for customers without a name
        },
        max_failed=0.05,  # some contacts have been deleted in the meantime
        not_after="{{ dag_run.run_after + macros.timedelta(hours=10) }}",  # a late run must not send at night
        results_path="{{ params.results_folder }}",
        retries=2,  # a retry sends no message twice
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
