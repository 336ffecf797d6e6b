"""Alert people in Intercom when a pipeline has failed or is late, without a task for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

# Airflow 3.2 and later; in 3.1 the first three are in airflow.sdk.definitions.deadline.
from airflow.sdk import (  # type: ignore[attr-defined]  # Airflow's stub lacks these names
    AsyncCallback,
    DeadlineAlert,
    DeadlineReference,
    Param,
    dag,
    task,
)

from intercom_provider.notifications.message import IntercomNotifier

# Intercom messages contacts, not teammates: create a contact for the person on call.
ON_CALL = {"type": "user", "user_id": "data-on-call"}
OWNER = {"type": "user", "user_id": "shop-owner-7"}


@dag(
    schedule="@hourly",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["intercom", "in_app", "email", "alert"],
    params={"rows": Param(100, type="integer", minimum=0, description="Rows that the pipeline finds; 0 makes it fail")},
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        # Names the task, the error and the address of the log; sent once, after the last retry.
        "on_failure_callback": IntercomNotifier(message_type="in_app", to=ON_CALL),
    },
    on_failure_callback=IntercomNotifier(
        message_type="email",
        to=OWNER,
        subject="Your figures are not up to date",
        body="The figures of this hour are missing ({{ reason }}). Our team has been alerted and is working on it.",
    ),
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=30),
        callback=AsyncCallback(IntercomNotifier, kwargs={"message_type": "in_app", "to": ON_CALL}),
    ),
)
def pipeline_watched() -> None:
    """Run a pipeline whose failures are alerted."""

    @task
    def extract(params: Any = None) -> int:
        return int(params["rows"])

    @task
    def load(rows: Any) -> None:
        if not rows:
            raise ValueError("The source was empty: nothing was loaded")

    load(extract())


pipeline_watched()
