"""Wait for a WhatsApp Outbound message of Intercom, and send an email to the recipients it did not reach."""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk import ObjectStoragePath, Param, dag, task

from intercom_provider.operators.message import SendMessageOperator
from intercom_provider.sensors.message_status import MessageStatusSensor


@dag(
    schedule=None,
    tags=["intercom", "whatsapp", "email"],
    params={
        "ruleset_id": Param(type="string", description="The id of the Outbound message, from its address in Intercom"),
        "results_folder": Param(
            type="string", description="A folder that all workers can write to: s3://aws_default@bucket/path"
        ),
    },
)
def whatsapp_campaign_retarget() -> None:
    """Wait until every message of a ruleset has arrived or failed, and email the recipients of the failed ones."""
    wait = MessageStatusSensor(
        task_id="wait_for_campaign",
        ruleset_id="{{ params.ruleset_id }}",
        # More failures than this need a person, and Airflow maps at most 1,024 tasks.
        max_failed=1_000,
        results_path="{{ params.results_folder }}/{{ run_id }}.jsonl",
        deferrable=True,
    )

    @task
    def not_reached(campaign: Any) -> list[dict[str, Any]]:
        lines = ObjectStoragePath(campaign["results_path"]).read_bytes().splitlines()
        rows = [json.loads(line) for line in lines]
        # One email per contact, even if several messages failed. Sorted, so that a re-run maps them in the same order.
        contacts = sorted({row["user_id"] for row in rows if row["user_id"]})
        return [{"to": {"type": "user", "id": contact}, "key": f"email-{contact}"} for contact in contacts]

    SendMessageOperator.partial(
        task_id="send_email",
        message_type="email",
        subject="We could not reach you on WhatsApp",
        body="We wanted to tell you about our autumn offers, and WhatsApp could not deliver it.",
        body_format="text",
        on_rejected="report",  # a contact who was deleted in the meantime must not fail the run
        max_active_tis_per_dagrun=8,
    ).expand_kwargs(not_reached(wait.output))


whatsapp_campaign_retarget()
