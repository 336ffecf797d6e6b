"""Message customers on the third day of their trial, each once, whatever runs overlap or are repeated."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from intercom_provider.operators.message import SendMessageBatchOperator

# Both DAGs send the same message, so they share its campaign: whoever had it from one does not get it from the other.
MESSAGE = {"message_type": "in_app", "body": "Hello ${first_name}, three days in: may we show you what others do next?"}
CAMPAIGN = "trial-day-3"
PARAMS = {
    "customers": Param("/data/customers.db", type="string", description="An SQLite file with the table of customers"),
    "ledger_conn_id": Param("intercom_ledger", type="string", description="The connection of the ledger's database"),
}


def find_customers(path: str, query: str, *values: str) -> list[dict[str, Any]]:
    """Return a message for each customer that a query finds: replace this with your warehouse."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(query, values).fetchall()
    # The key is your own id of the customer. So the ledger knows each of them, also when an address changes.
    return [{"to": {"type": "user", "user_id": id_}, "key": id_, "params": {"first_name": name}} for id_, name in rows]


@dag(
    schedule="0 9 * * *",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=5,  # a backfill of five days may run at once
    params=PARAMS,
    tags=["intercom", "in_app", "campaign"],
)
def daily_lifecycle_campaign() -> None:
    """Send to those who are two to four days into their trial, so that a run that fails misses nobody."""

    @task
    def due(customers: str, on: str) -> list[dict[str, Any]]:
        day = datetime.fromisoformat(on)
        since, until = (f"{day - timedelta(days=days):%Y-%m-%d}" for days in (4, 2))
        query = "SELECT customer_id, first_name FROM customers WHERE trial_began BETWEEN ? AND ?"
        return find_customers(customers, query, since, until)

    SendMessageBatchOperator(
        task_id="send",
        messages=due("{{ params.customers }}", "{{ (dag_run.logical_date or dag_run.run_after) | ds }}"),
        defaults=MESSAGE,
        campaign=CAMPAIGN,
        ledger_conn_id="{{ params.ledger_conn_id }}",
        retries=2,
    )


@dag(schedule=None, params=PARAMS, tags=["intercom", "in_app", "campaign"])
def lifecycle_campaign_by_hand() -> None:
    """Send the same message to all customers of a plan, whenever somebody triggers it."""

    @task
    def on_plan(customers: str) -> list[dict[str, Any]]:
        query = "SELECT customer_id, first_name FROM customers WHERE plan = ?"
        return find_customers(customers, query, "team")

    SendMessageBatchOperator(
        task_id="send",
        messages=on_plan("{{ params.customers }}"),
        defaults=MESSAGE,
        campaign=CAMPAIGN,
        ledger_conn_id="{{ params.ledger_conn_id }}",
        retries=2,
    )


daily_lifecycle_campaign()
lifecycle_campaign_by_hand()
