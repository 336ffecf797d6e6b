"""Alert the person on call, in the Messenger, when a pipeline has failed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, dag, task

from intercom_provider.operators.message import SendMessageOperator


@dag(
    schedule="@hourly",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["intercom", "in_app", "alert"],
    params={"rows": Param(100, type="integer", minimum=0, description="Rows that the pipeline finds; 0 makes it fail")},
)
def pipeline_alert() -> None:
    """Run a pipeline, and send one message when one of its tasks fails."""

    @task
    def extract(params: Any = None) -> int:
        return int(params["rows"])

    @task
    def load(rows: Any) -> None:
        if not rows:
            raise ValueError("The source was empty: nothing was loaded")

    alert = SendMessageOperator(
        task_id="alert",
        trigger_rule="one_failed",
        message_type="in_app",
        # Intercom messages contacts, not teammates: create a contact for the person on call.
        to={"type": "user", "user_id": "data-on-call"},
        body="{{ dag.dag_id }} failed: run {{ run_id }}",
        body_format="text",
        retries=3,
    )
    # Airflow derives the state of a run from its last tasks. Without this one, a sent alert would make it a success.
    done = EmptyOperator(task_id="done")

    extracted = extract()
    loaded = load(extracted)
    [extracted, loaded] >> alert
    loaded >> done


pipeline_alert()
