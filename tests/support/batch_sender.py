"""Send a batch in a process that a test can kill, with its ledger on disk."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.ledger.ledger import Attempt
from intercom_provider.ledger.task_state_batch import BatchLedger
from intercom_provider.results.writer import ResultsWriter
from intercom_provider.sending.batch.input import BatchInput
from intercom_provider.sending.batch.run import BatchRun
from intercom_provider.sending.options import SendOptions

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from intercom_provider.api.settings import Settings

THREADS: Final = 20

_DEFAULTS: Final = {"message_type": "in_app", "body": "Hello", "from_admin_id": "1"}


class Disk:
    """A task state store in a folder, a file a key; each file is replaced as a whole, so a kill leaves none half."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def get(self, key: str) -> Any:
        try:
            return json.loads(self._file(key).read_bytes())
        except FileNotFoundError:
            return None

    def set(self, key: str, value: Any) -> None:
        written = self._folder / f"written by {os.getpid()}"
        written.write_text(json.dumps(value))
        written.replace(self._file(key))

    def _file(self, key: str) -> Path:
        return self._folder / key.replace("/", " ")


def ledger_of(attempt: int, disk: Disk) -> BatchLedger:
    """Return the ledger as an attempt finds it."""
    return BatchLedger(disk, Attempt(number=attempt, max_tries=100, retries=100))


def batch_of(people: int, settings: Settings) -> BatchInput:
    """Return a batch with a message to each of so many people, whose ids are their numbers."""
    messages = [{"to": {"type": "user", "id": str(person)}} for person in range(people)]
    return BatchInput(messages, _DEFAULTS, duplicates="skip", salt="run", settings=settings)


def people_by_digest(people: int, settings: Settings) -> dict[str, str]:
    """Return the people by the digests of their messages in the ledger."""
    with batch_of(people, settings) as messages:
        messages.check()
        return {item.digest: str(item.index) for item in messages}


def send(people: int, attempt: int, settings: Settings, store: Path, report: Connection) -> None:
    """Send the messages that were not sent before, and report the counts."""
    with batch_of(people, settings) as messages:
        total = messages.check()
        ledger = ledger_of(attempt, Disk(store))
        ledger.begin_try()
        options, results = SendOptions(concurrency=THREADS), ResultsWriter(None, attempt)
        counts = BatchRun(messages, total, settings=settings, options=options, ledger=ledger, results=results).run()
    report.send({name: getattr(counts, name) for name in ("sent", "already_sent", "unconfirmed")})
