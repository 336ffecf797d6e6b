"""Send a WhatsApp campaign in chunks, on several workers, and wait until it has arrived."""

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
        "folder": Param(
            type="string", description="A folder that all workers can write to: s3://aws_default@bucket/campaign"
        ),
        "chunk_size": Param(2_000, type="integer", minimum=1, description="Messages per task; at most 1,024 tasks"),
    },
)
def whatsapp_campaign_over_workers() -> None:
    """Split a list of recipients into chunks, send the chunks in parallel, and wait for all of them in one task."""

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
        # A line has the rest: {"to": {"phone": "+447900123456"}, "params": {"name": "Ada"}, "key": "customer-1001"}
        defaults={
            "message_type": "whatsapp",
            "template": "autumn_offers",
            "locale": "en",
            "components": [{"type": "BODY", "parameters": [{"type": "text", "text": "${name}"}]}],
        },
        max_failed=0.05,
        # When a worker dies, it is unknown whether its last messages were sent. Count them, and do not send them again.
        on_unconfirmed="assume_sent",
        results_path="{{ params.folder }}",
        retries=3,
        # The number of worker slots for the campaign. More are not faster, because all chunks share one rate limit.
        max_active_tis_per_dagrun=4,
    ).expand(messages=split())

    MessageStatusSensor(
        task_id="wait_for_campaign",
        sent=send.output,
        # Messages to unused numbers fail. Messages to phones that are off, and unconfirmed ones, stay pending.
        max_failed=0.05,
        max_pending=0.1,
        results_path="{{ params.folder }}/{{ run_id }}/failed.jsonl",
        timeout=24 * 60 * 60,
        deferrable=True,
        retries=3,
    )


whatsapp_campaign_over_workers()
