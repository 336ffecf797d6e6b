"""Message many customers by WhatsApp, and email all whom WhatsApp did not reach, from one list with both addresses."""

from __future__ import annotations

import json

from airflow.sdk import ObjectStoragePath, Param, dag

from intercom_provider.exceptions import InvalidFieldError
from intercom_provider.operators.message import SendMessageBatchOperator
from intercom_provider.results import read_results
from intercom_provider.sensors.message_status import MessageStatusSensor


def not_reached(customers: str, results_path: str) -> str:
    """Return the customers whom the sensor's file names, as JSON."""
    keys = {row["key"] for row in read_results(results_path)}
    if None in keys:
        raise InvalidFieldError("a message has no key, so that nobody knows whose it was")
    with ObjectStoragePath(customers).open("r", encoding="utf-8") as lines:  # type: ignore[no-untyped-call]
        found = [customer for line in lines if line.strip() and str((customer := json.loads(line)).get("key")) in keys]
    if missing := keys - {str(customer["key"]) for customer in found}:
        raise InvalidFieldError(
            f"{len(missing)} of {len(keys)} keys are not in {customers}: has the list been changed?"
        )
    return json.dumps(found)


@dag(
    schedule=None,
    tags=["intercom", "whatsapp", "email", "campaign"],
    user_defined_macros={"not_reached": not_reached},
    params={
        # A line: {"key": "customer-1001", "params": {"name": "Ada", "phone": "+4479...", "email": "ada@example.com"}}
        "customers": Param(type="string", description="JSON Lines, a customer a line: s3://aws_default@bucket/file"),
        "folder": Param(type="string", description="A folder for results: s3://aws_default@bucket/campaign"),
        "campaign": Param("moving-day", type="string", description="The name of the campaign in the ledger"),
        "ledger_conn_id": Param(
            "intercom_ledger", type="string", description="The connection of the ledger's database"
        ),
    },
)
def whatsapp_batch_with_email_fallback() -> None:
    """Send, wait for four hours at most, and email the others; each channel is a campaign, so nobody gets one twice."""
    send = SendMessageBatchOperator(
        task_id="send",
        messages="{{ params.customers }}",
        defaults={
            "message_type": "whatsapp",
            "to": {"phone": "${phone}", "name": "${name}"},
            "template": "moving_day",
            "locale": "en",
            "components": [{"type": "body", "parameters": [{"type": "text", "text": "${name}"}]}],
        },
        max_failed=None,  # whoever WhatsApp refuses is emailed, too
        on_unconfirmed="assume_sent",
        campaign="{{ params.campaign }}/whatsapp",
        ledger_conn_id="{{ params.ledger_conn_id }}",
        results_path="{{ params.folder }}",
        retries=2,
    )

    wait = MessageStatusSensor(
        task_id="wait",
        sent=send.output,
        max_failed=None,
        timeout=4 * 60 * 60,
        on_timeout="report",  # a phone that is off must not keep the others' emails back
        results="not_reached",
        results_path="{{ params.folder }}/{{ run_id }}/not_reached.jsonl",
        ledger_conn_id="{{ params.ledger_conn_id }}",
        deferrable=True,
        retries=2,
    )

    email = SendMessageBatchOperator(
        task_id="email",
        # Text that is made when the task runs. Airflow stores neither it nor the addresses in it.
        messages="{{ not_reached(params.customers, ti.xcom_pull(task_ids='wait', key='results_path')) }}",
        defaults={
            "message_type": "email",
            "to": {"type": "user", "email": "${email}"},
            "subject": "We are moving",
            "body": "<p>Hello ${name}, from Monday on you find us at our new address.</p>",
        },
        campaign="{{ params.campaign }}/email",
        ledger_conn_id="{{ params.ledger_conn_id }}",
        results_path="{{ params.folder }}",
        retries=2,
    )

    wait >> email


whatsapp_batch_with_email_fallback()
