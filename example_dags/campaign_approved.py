"""Rehearse a campaign, show somebody the counts, and send it when they have approved."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, dag, task

from intercom_provider.operators.message import SendMessageBatchOperator

COUNTS = """
{%- set counts = ti.xcom_pull(task_ids='rehearse') %}
| of {{ counts.total }} | |
|---|---|
| would be sent | {{ counts.dry_run }} |
| are left out | {{ counts.suppressed }} |
| are in the list twice | {{ counts.duplicates }} |
| are refused | {{ counts.rejected }} |

{% for each in counts.reasons if "dry_run" not in each.reason %}
- {{ each.count }} x {{ each.reason }}
{% endfor %}
"""


@dag(
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    tags=["intercom", "email", "batch"],
    params={
        "folder": Param("/data/campaign", type="string", description="A folder that all workers can write to"),
        "opted_out": Param("/data/opted_out.txt", type="string", description="Who must not be messaged, one a line"),
    },
)
def campaign_approved() -> None:
    """Check and count on a connection that sends nothing, ask a person, and send the same file."""

    @task
    def write_list(folder: str) -> str:
        # Replace this with a query of your warehouse. The file is written once: what is approved is what is sent.
        people = [{"to": {"type": "user", "user_id": f"customer-{number}"}} for number in range(1001, 1007)]
        path = Path(folder) / "messages.jsonl"
        path.write_text("\n".join(map(json.dumps, people)), encoding="utf-8")
        return str(path)

    def batch(task_id: str, **fields: Any) -> SendMessageBatchOperator:
        return SendMessageBatchOperator(
            task_id=task_id,
            messages=messages,
            defaults={"message_type": "email", "subject": "Our new terms", "body": "<p>They hold from May on.</p>"},
            max_messages=20_000,  # a join that went wrong must not reach everybody
            suppress="{{ params.opted_out }}",
            unsubscribed="skip",
            **fields,
        )

    messages = write_list("{{ params.folder }}")
    # The same workspace and token as intercom_default, with "dry_run": true in the extra.
    rehearse = batch("rehearse", intercom_conn_id="intercom_dry_run")
    approve = ApprovalOperator(
        task_id="approve",
        subject="Send it to {{ ti.xcom_pull(task_ids='rehearse', key='dry_run') }} people?",
        body=COUNTS,
        response_timeout=timedelta(hours=8),  # nobody answered: the run fails, and nothing is sent
    )
    rehearse >> approve >> batch("send", retries=2)


campaign_approved()
