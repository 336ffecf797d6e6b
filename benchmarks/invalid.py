"""Check 100,000 rows of a file of which 3 % are wrong in six ways, and count the others: a batch, and a preview."""

from __future__ import annotations

import json
import os
import re
import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.measure import Sample, alone, run_command
from benchmarks.table import Row, allowed
from intercom_provider.api.settings import Settings
from intercom_provider.ledger.ledger import Attempt
from intercom_provider.ledger.stateless import StatelessLedger
from intercom_provider.results.writer import ResultsWriter
from intercom_provider.sending.batch.input import BatchInput
from intercom_provider.sending.batch.run import BatchRun
from intercom_provider.sending.options import SendOptions

if TYPE_CHECKING:
    from benchmarks.measure import CommandRun

_ROWS: Final = 100_000
_BAD_OF_A_KIND: Final = 500
_MAX_SECONDS: Final = 20.0
_MAX_MEGABYTES: Final = 200.0
_DEFAULTS: Final = {
    "message_type": "whatsapp",
    "template": "welcome",
    "components": [{"type": "body", "parameters": [{"type": "text", "text": "${first_name}"}]}],
    "from_admin_id": "1",
}


def run() -> list[Row]:
    """
    Check such a file, and count what would be sent: a batch with ``dry_run``, and ``airflow intercom preview``.

    :return: The rows.
    """
    settings = Settings(token="", dry_run=True)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(f"{_row(number)}\n" for number in range(_ROWS))
        file.flush()
        before = _megabytes()
        with BatchInput(
            file.name, _DEFAULTS, duplicates="skip", salt="bench", settings=settings, invalid="reject"
        ) as batch:
            began = time.process_time()
            total = batch.check()
            seconds = time.process_time() - began
            ledger = StatelessLedger(Attempt())
            ledger.begin_try()
            results = ResultsWriter(None, 1)
            counts = BatchRun(
                batch, total, settings=settings, options=SendOptions(), ledger=ledger, results=results
            ).run()
        memory = _megabytes() - before
        told, preview = _preview(file.name)
    named = sum(count == _BAD_OF_A_KIND for count in counts.reasons.values())
    bad = 6 * _BAD_OF_A_KIND
    previewed = sum(reason["count"] == _BAD_OF_A_KIND for reason in told["reasons"])
    return [
        Row(what="kinds of wrong rows that are named with their number", ours=f"{named}", other="6", ratio=named / 6,
            at_least=1, at_most=1),
        Row(what="rows rejected", ours=f"{counts.rejected:,}", other=f"{bad:,}", ratio=counts.rejected / bad,
            at_least=1, at_most=1),
        Row(what="rows that would be sent", ours=f"{counts.dry_run:,}", other=f"{_ROWS - bad:,}",
            ratio=counts.dry_run / (_ROWS - bad), at_least=1, at_most=1),
        allowed("CPU to check 100,000 rows", Sample((seconds,)), _MAX_SECONDS, "{:.1f} s"),
        allowed("memory for it", Sample((memory,)), _MAX_MEGABYTES, "{:.0f} MB"),
        Row(what="preview: kinds of wrong rows that are named with their number", ours=f"{previewed}", other="6",
            ratio=previewed / 6, at_least=1, at_most=1),
        Row(what="preview: rows that would be sent", ours=f"{told['to_send']:,}", other=f"{_ROWS - bad:,}",
            ratio=told["to_send"] / (_ROWS - bad), at_least=1, at_most=1),
        allowed("preview: CPU of the command", Sample((preview.seconds,)), _MAX_SECONDS, "{:.1f} s"),
        allowed("preview: memory of the command, with Airflow", Sample((preview.mebibytes,)), _MAX_MEGABYTES,
            "{:.0f} MB"),
    ]  # fmt: skip


def _preview(messages: str) -> tuple[dict[str, Any], CommandRun]:
    os.environ["AIRFLOW_CONN_INTERCOM_DEFAULT"] = json.dumps({"conn_type": "intercom", "password": "token-of-nobody"})
    arguments = ("preview", messages, "--defaults", json.dumps(_DEFAULTS), "--output", "json")
    with tempfile.NamedTemporaryFile("r") as output:
        used = alone(run_command, arguments, Path(output.name))
        return json.load(output), used


def _kind(number: int) -> int | None:
    """Return the way in which a row is wrong; None for a row that is right."""
    place, rest = divmod(number, _ROWS // (6 * _BAD_OF_A_KIND))
    return place % 6 if rest == 1 and place < 6 * _BAD_OF_A_KIND else None


def _phone(number: int) -> str:
    return f"+447{number:06d}111"


def _row(number: int) -> str:
    message: dict[str, Any] = {"to": {"phone": _phone(number)}, "params": {"first_name": "Ada"}, "key": number}
    wrong: tuple[Any, ...] = (
        {**message, "to": {"phone": int(_phone(number)[1:])}},
        {**message, "to": {"phone": _phone(number)[3:]}},
        {**message, "params": {}},
        {"phone": _phone(number), "first_name": "Ada"},
        {**message, "params": {"first_name": "Ada", "total": 0.1 + 0.2}},
    )
    kind = _kind(number)
    if kind is None:
        return json.dumps(message)
    return json.dumps(wrong[kind]) if kind < len(wrong) else "not JSON"


def _megabytes() -> float:
    """Return the most memory that this process has used."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+)", status.read_text())
        if found:
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
