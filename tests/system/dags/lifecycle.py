"""A campaign that is sent daily, to a list that overlaps with those of the days before; five days are made up for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageBatchOperator

for ledger in ("ledger_sqlite", "ledger_postgres"):
    with DAG(
        f"lifecycle_{ledger}",
        schedule="0 9 * * *",
        start_date=datetime(2025, 1, 10, tzinfo=UTC),
        end_date=datetime(2025, 1, 14, 23, tzinfo=UTC),
        catchup=True,
        max_active_runs=5,
        # All five runs begin when a test unpauses it.
        is_paused_upon_creation=True,
    ):
        SendMessageBatchOperator(
            task_id="send",
            # A variable, because a scheduled run has no params of its own.
            messages="{{ var.value.lifecycle }}/{{ ds }}.jsonl",
            defaults={"message_type": "whatsapp", "template": "order_shipped"},
            campaign="trial-day-3",
            ledger_conn_id=ledger,
            intercom_conn_id="intercom_sandbox",
            retries=2,
            retry_delay=timedelta(seconds=1),
        )
