"""A batch whose messages go out in the window of their recipients."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from intercom_provider.operators.message import SendMessageBatchOperator

# A file, because a window is no template, and each process that reads this DAG has to find the same one.
HOURS = Path(os.environ["AIRFLOW_HOME"], "hours.json")

with DAG("windows", params={"messages": "", "results_path": ""}, schedule=None):
    SendMessageBatchOperator(
        task_id="send",
        messages="{{ params.messages }}",
        defaults={"message_type": "whatsapp", "template": "order_shipped"},
        send_window=json.loads(HOURS.read_text()) if HOURS.exists() else None,
        results_path="{{ params.results_path }}",
        intercom_conn_id="intercom_sandbox",
        retries=1,
        retry_delay=timedelta(seconds=1),
    )
