"""Send a WhatsApp campaign with all of Airflow's workers, chunk by chunk, and wait until it has arrived."""

from __future__ import annotations

from itertools import islice
from typing import Any

from airflow.sdk import ObjectStoragePath, Param, dag, task

from intercom_provider.operators.message import SendMessageBatchOperator
from intercom_provider.sensors.message_status import MessageStatusSensor


@dag(
    schedule=None,
    tags=["intercom", "whatsapp"],
    params={
        "recipients": Param(type="string", description="JSON Lines, one message a line: s3://aws_default@bucket/file"),
        "folder": Param(type="string", description="Where all workers can write: s3://aws_default@bucket/campaign"),
        "chunk_size": Param(2_000, type="integer", minimum=1, description="Messages a task; 1,024 tasks at most"),
    },
)
def whatsapp_campaign_over_workers() -> None:
    """Cut a list of recipients into chunks, send these side by side, and watch them all at once."""

    @task
    def split(params: Any = None, run_id: Any = None) -> list[str]:
        folder = ObjectStoragePath(params["folder"]) / run_id / "chunks"
        folder.mkdir(parents=True, exist_ok=True)
        chunks: list[str] = []
        with ObjectStoragePath(params["recipients"]).open("rb") as lines:  # type: ignore[no-untyped-call]
            while chunk := b"".join(islice(lines, params["chunk_size"])):
                path = folder / f"{len(chunks):04}.jsonl"
                path.write_bytes(chunk)
                chunks.append(str(path))
        return chunks

    send = SendMessageBatchOperator.partial(
        task_id="send",
        # A line says the rest: {"to": {"phone": "+447900123456"}, "params": {"name": "Ada"}, "key": "customer-1001"}
        defaults={
            "message_type": "whatsapp",
            "template": "autumn_offers",
            "locale": "en",
            "components": [{"type": "BODY", "parameters": [{"type": "text", "text": "${name}"}]}],
        },
        max_failed=0.05,
        # A worker that dies leaves some messages of which nobody knows: they are counted, and not sent twice.
        on_unconfirmed="assume_sent",
        results_path="{{ params.folder }}",
        retries=3,
        # One for each slot that the campaign may have. Chunks share the rate limit, so more are no faster.
        max_active_tis_per_dagrun=4,
    ).expand(messages=split())

    MessageStatusSensor(
        task_id="wait_for_campaign",
        sent=send.output,
        # Numbers that are nobody's fail; phones that are off, and messages of which nobody knows, stay pending.
        max_failed=0.05,
        max_pending=0.1,
        results_path="{{ params.folder }}/{{ run_id }}/failed.jsonl",
        timeout=24 * 60 * 60,
        deferrable=True,
        retries=3,
    )


whatsapp_campaign_over_workers()
