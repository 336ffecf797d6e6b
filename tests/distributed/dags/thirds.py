"""Three DAGs that send the same campaign."""

from __future__ import annotations

from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageBatchOperator

for name in ("first", "second", "third"):
    with DAG(f"thirds_{name}", schedule=None, params={"recipients": "", "campaign": ""}):
        SendMessageBatchOperator(
            task_id="send",
            messages="{{ params.recipients }}",
            defaults={"message_type": "whatsapp", "template": "autumn_offers"},
            campaign="{{ params.campaign }}",
            ledger_conn_id="ledger",
            # What the killed worker had claimed is counted, and not sent again.
            max_failed=None,
            on_unconfirmed="assume_sent",
            retries=3,
        )
