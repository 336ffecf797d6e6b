"""What a sensor tells about the messages of its last look: reasons, ids, and rows on object storage."""

from __future__ import annotations

import json
import time
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias

from intercom_provider.api import calls
from intercom_provider.api.errors import IntercomError
from intercom_provider.api.flow import RetryLimits
from intercom_provider.waiting.statuses import settled_statuses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from intercom_provider.api.client import IntercomClient
    from intercom_provider.fields import WaitFor
    from intercom_provider.waiting.poll import FullPoll, SeenStatus
    from intercom_provider.waiting.sent import KeyOf, Row

Results: TypeAlias = Literal["failed", "unsettled", "all"]

MOST_IDS: Final = 1_000
MOST_REASONS: Final = 10

_TOLD: Final = ("whatsapp_message_id", "key", "conversation_id", "user_id", "reason")
# Reasons are worth a moment after a wait, for all of them together.
_REASONS_TIMEOUT: Final = 5.0
_REASONS_LAST: Final = 15.0

# Beyond this, rows wait on disk, so that a ruleset of any size needs no more memory.
_ROWS_IN_MEMORY: Final = 1_000_000


class Report:
    """
    Gathers during a look what will be told after it; bounded in memory. A context manager.

    :param wait_for: What a message has to reach.
    :param results: Which messages get a row: ``failed``, ``unsettled`` or ``all``; None for no rows.
    :param keys: The user's own ids by WhatsApp id.
    :param not_sent: Rows of messages that have no WhatsApp id; read several times.
    """

    def __init__(
        self,
        *,
        wait_for: WaitFor,
        results: Results | None,
        keys: KeyOf,
        not_sent: Iterable[Row] = (),
    ) -> None:
        self._wait_for = wait_for
        self._results = results
        self._keys = keys
        self._not_sent = not_sent
        self._failed: dict[str, Row] = {}
        self._rows = SpooledTemporaryFile(max_size=_ROWS_IN_MEMORY, mode="w+", encoding="utf-8")  # noqa: SIM115 - lives as long as the report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()

    def add(self, sighting: SeenStatus) -> None:
        """
        Remember a sighting, as far as it may be told.

        :param sighting: A message as the look saw it.
        """
        failed = sighting.status == "failed"
        wanted = self.includes(sighting.status)
        if not (failed or wanted):
            return
        row = {
            "whatsapp_message_id": sighting.whatsapp_message_id,
            "key": self._keys.get(sighting.whatsapp_message_id),
            "conversation_id": sighting.conversation_id,
            "user_id": sighting.user_id,
            "status": sighting.status,
            "reason": sighting.reason,
            "template_name": sighting.template_name,
            "updated_at": sighting.updated_at,
        }
        # Some room beyond what is told: not everything seen as failed is counted as failed.
        if failed and len(self._failed) <= 2 * MOST_IDS:
            self._failed.setdefault(sighting.whatsapp_message_id, row)
        if wanted:
            self._rows.write(json.dumps(row) + "\n")

    def failure_summary(self, poll: FullPoll, client: IntercomClient) -> Row:
        """
        Tell whose messages failed and why.

        :param poll: The look that this report watched.
        :param client: Asks for reasons, for at most ten messages.
        :return: ``failures``, ``failed_whatsapp_message_ids`` and ``failed_user_ids``.
        """
        failed = [row for message_id, row in self._failed.items() if poll.counter.counts_as(message_id, "failed")]
        # More of them than may be told make no difference.
        refused = list(islice((row for row in self._not_sent if row["status"] == "failed"), MOST_IDS + 1))
        briefly = RetryLimits(attempts=1, timeout=_REASONS_TIMEOUT, deadline=time.time() + _REASONS_LAST)
        told = [_with_reason(row, client, briefly) for row in (*refused, *failed)[:MOST_REASONS]]
        # Not all that failed were remembered when many of the first did arrive all the same.
        complete = poll.summary.failed <= MOST_IDS and len(failed) + len(refused) >= poll.summary.failed
        users = dict.fromkeys(row["user_id"] for row in failed if row["user_id"])
        return {
            "failures": [{name: row[name] for name in _TOLD} for row in told],
            "failed_whatsapp_message_ids": [row["whatsapp_message_id"] for row in failed] if complete else None,
            "failed_user_ids": list(users) if complete else None,
        }

    def rows(self, poll: FullPoll) -> Iterator[Row]:
        """
        Tell the rows that were asked for, each message once.

        :param poll: The look that this report watched.
        :return: The rows, those of messages without an id first.
        """
        yield from (row for row in self._not_sent if self.includes(row["status"]))
        self._rows.seek(0)
        for line in self._rows:
            row = json.loads(line)
            if poll.counter.claim_once(row["whatsapp_message_id"], row["status"]):
                # The reasons that were asked for belong into the rows as well.
                yield self._failed.get(row["whatsapp_message_id"], row) if row["status"] == "failed" else row

    def includes(self, status: str) -> bool:
        """
        Tell whether messages with a status get a row.

        :param status: Intercom's word for it.
        :return: Whether more than the status will be told.
        """
        if self._results is None:
            return False
        if self._results == "all":
            return True
        if self._results == "failed":
            return status == "failed"
        return status not in settled_statuses(self._wait_for)


def _with_reason(row: Row, client: IntercomClient, limits: RetryLimits) -> Row:
    if row["reason"] is None:
        try:
            found = client.run(calls.whatsapp_status(row["whatsapp_message_id"], limits))
        except IntercomError as error:
            row["reason"] = f"not known: {error}"
        else:
            row["reason"] = str(found.error) if found.error else "no reason given"
            row["conversation_id"] = row["conversation_id"] or found.conversation_id
    return row


def write_rows(rows: Iterator[Row], path: str) -> int:
    """
    Write rows as JSON Lines to object storage or a local file; what stood there is replaced.

    :param rows: The rows.
    :param path: A path or a URI that Airflow's ``ObjectStoragePath`` takes (``s3://conn_id@bucket/...``).
    :return: How many rows were written.
    """
    from airflow.sdk import ObjectStoragePath  # noqa: PLC0415 - loads a storage library, only where rows are wanted

    target = ObjectStoragePath(path)
    if target.protocol in ("", "file"):
        target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with target.open("w", encoding="utf-8") as file:  # type: ignore[no-untyped-call]  # Airflow has no annotation
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            written += 1
    return written
