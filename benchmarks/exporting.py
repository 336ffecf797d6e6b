"""Write 100,000 results of a batch, and as many of a sensor, as CSV."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.measure import Sample, alone, run_command
from benchmarks.table import Row, allowed
from intercom_provider.results.writer import ResultsWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS: Final = 100_000
_MAX_SECONDS: Final = 30.0
_MAX_MEGABYTES: Final = 150.0
_TIME: Final = 1_795_235_636


def run() -> list[Row]:
    """
    Run ``airflow intercom results``.

    :return: The rows.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [
            *_export("batch", _write_batch(folder), folder / "outcomes.csv"),
            *_export("sensor", _write_statuses(folder), folder / "statuses.csv"),
        ]


def _export(of: str, path: str, output: Path) -> Iterator[Row]:
    used = alone(run_command, ("results", path), output)
    with output.open(encoding="utf-8", newline="") as file:
        whole = sum(row["key"] == _key(index) for index, row in enumerate(csv.DictReader(file)))
    yield Row(
        what=f"{of}: rows in their order, with the zeros of their keys",
        ours=f"{whole:,}",
        other=f"{_ROWS:,}",
        ratio=whole / _ROWS,
        at_least=1,
        at_most=1,
    )
    yield allowed(f"{of}: CPU of the command", Sample((used.seconds,)), _MAX_SECONDS, "{:.1f} s")
    yield allowed(f"{of}: memory of the command, with Airflow", Sample((used.mebibytes,)), _MAX_MEGABYTES, "{:.0f} MB")


def _key(index: int) -> str:
    return f"{index:08d}"


def _write_batch(folder: Path) -> str:
    writer = ResultsWriter(str(folder / "batch"), 1)
    writer.open()
    for index in range(_ROWS):
        failed = index % 50 == 0
        ids = {} if failed else {"id": f"4039{index:05d}", "whatsapp_message_id": f"wamid.HBjk{index:08d}TTJ3T4IA=="}
        reason = "WhatsApp does not accept the template" if failed else None
        writer.add(
            {"index": index, "key": _key(index), "outcome": "rejected" if failed else "sent", **ids, "reason": reason}
        )
    writer.close()
    return str(folder / "batch")


def _write_statuses(folder: Path) -> str:
    path = folder / "statuses.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for index in range(_ROWS):
            line = {
                "whatsapp_message_id": f"wamid.HBjk{index:08d}TTJ3T4IA==",
                "key": _key(index),
                "conversation_id": f"2159{index:05d}",
                "user_id": f"{index:05d}",
                "status": "read",
                "reason": None,
                "template_name": "welcome",
                "updated_at": _TIME + index,
            }
            file.write(f"{json.dumps(line)}\n")
    return str(path)
