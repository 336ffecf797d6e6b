"""Reporting the messages of a full poll: who failed and why, and rows on object storage."""

from __future__ import annotations

import json
import time
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias

from intercom_provider.api import calls
from intercom_provider.api.errors import IntercomError
from intercom_provider.api.flow import RetryLimits
from intercom_provider.results.writer import open_whole
from intercom_provider.waiting.messages import reason_of, why_unknown
from intercom_provider.waiting.statuses import settled_statuses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from intercom_provider.api.client import IntercomClient
    from intercom_provider.fields import WaitFor
    from intercom_provider.ledger.delivery_log import DeliveryLog
    from intercom_provider.waiting.poll import FullPoll, SeenStatus
    from intercom_provider.waiting.sent import KeyLookup, Row

ResultsFilter: TypeAlias = Literal["failed", "pending", "not_reached", "all"]
"""Which messages get a row in the results."""

MAX_IDS: Final = 1_000
MAX_FAILURES: Final = 10

_FAILURE_FIELDS: Final = ("whatsapp_message_id", "key", "conversation_id", "user_id", "reason")
# The wait is over by then, so the reasons must not take long: each of them, and all together.
_REASON_TIMEOUT_SECONDS: Final = 5.0
_MAX_REASONS_SECONDS: Final = 15.0

# Longer rows are kept on disk, so that a ruleset of any size needs no more memory.
_MAX_CHARS_IN_MEMORY: Final = 1_000_000


class Report:
    """
    Collects the statuses of one poll for the report at its end; bounded in memory. A context manager.

    :param wait_for: The status that messages have to reach.
    :param results: Which messages get a row: ``failed``, ``pending``, ``not_reached`` (both) or ``all``;
        None for no rows.
    :param keys: The keys of messages by WhatsApp id.
    :param rows_without_id: Rows of messages without a WhatsApp id (default none); iterated several times.
    :param delivery_log: Also gets every status, and is closed with the report; None (default) for no such log.
    """

    def __init__(
        self,
        *,
        wait_for: WaitFor,
        results: ResultsFilter | None,
        keys: KeyLookup,
        rows_without_id: Iterable[Row] = (),
        delivery_log: DeliveryLog | None = None,
    ) -> None:
        self._wait_for = wait_for
        self._results = results
        self._keys = keys
        self._rows_without_id = rows_without_id
        self._delivery_log = delivery_log
        self._failed: dict[str, Row] = {}
        self._rows = SpooledTemporaryFile(max_size=_MAX_CHARS_IN_MEMORY, mode="w+", encoding="utf-8")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.close()
        if self._delivery_log is not None:
            self._delivery_log.close()

    def add(self, seen: SeenStatus) -> None:
        """
        Record a status that may be reported.

        :param seen: The status.
        """
        if self._delivery_log is not None:
            self._delivery_log.add(seen.whatsapp_message_id, seen.status, seen.reason)
        failed = seen.status == "failed"
        wanted = self.includes(seen.status)
        if not (failed or wanted):
            return
        row = {
            "whatsapp_message_id": seen.whatsapp_message_id,
            "key": self._keys.get(seen.whatsapp_message_id),
            "conversation_id": seen.conversation_id,
            "user_id": seen.user_id,
            "status": seen.status,
            "reason": seen.reason,
            "template_name": seen.template_name,
            "updated_at": seen.updated_at,
        }
        if failed and self._has_room_for_failed:
            self._failed.setdefault(seen.whatsapp_message_id, row)
        if wanted:
            self._rows.write(json.dumps(row) + "\n")

    def failure_summary(self, poll: FullPoll, client: IntercomClient) -> Row:
        """
        Return which messages failed and why.

        :param poll: The result of the poll.
        :param client: Asks Intercom for the reasons of at most ten messages.
        :return: ``failures``, ``failed_whatsapp_message_ids``, ``failed_keys`` and ``failed_user_ids``.
        """
        failed = [row for message_id, row in self._failed.items() if poll.counter.counts_as(message_id, "failed")]
        # One more than the limit is enough to see that the ids are not complete.
        never_sent = list(islice((row for row in self._rows_without_id if row["status"] == "failed"), MAX_IDS + 1))
        limits = RetryLimits(attempts=1, timeout=_REASON_TIMEOUT_SECONDS, deadline=time.time() + _MAX_REASONS_SECONDS)
        failures = [_add_reason(row, client, limits) for row in (*never_sent, *failed)[:MAX_FAILURES]]
        # Failed messages are missing when too many were recorded that turned out to be delivered.
        complete = poll.summary.failed <= MAX_IDS and len(failed) + len(never_sent) >= poll.summary.failed
        keys = dict.fromkeys(row["key"] for row in (*never_sent, *failed) if row["key"] is not None)
        users = dict.fromkeys(row["user_id"] for row in failed if row["user_id"])
        return {
            "failures": [{name: row[name] for name in _FAILURE_FIELDS} for row in failures],
            "failed_whatsapp_message_ids": [row["whatsapp_message_id"] for row in failed] if complete else None,
            "failed_keys": list(keys) if complete else None,
            "failed_user_ids": list(users) if complete else None,
        }

    def rows(self, poll: FullPoll) -> Iterator[Row]:
        """
        Return the rows that ``results`` asks for, one a message.

        :param poll: The result of the poll.
        :return: The rows, those of messages without a WhatsApp id first.
        """
        yield from (row for row in self._rows_without_id if self.includes(row["status"]))
        self._rows.seek(0)
        for line in self._rows:
            row = json.loads(line)
            if poll.counter.claim_once(row["whatsapp_message_id"], row["status"]):
                # The row in memory has the reason that failure_summary asked for; the one on disk has not.
                yield self._failed.get(row["whatsapp_message_id"], row) if row["status"] == "failed" else row

    def write_deliveries(self) -> None:
        """Write the statuses into the delivery log, if there is one."""
        if self._delivery_log is not None:
            self._delivery_log.write()

    def wants(self, status: str) -> bool:
        """
        Check whether messages with a status are recorded.

        :param status: The status as Intercom spells it.
        :return: True for those that get a row or may be reported as failed, and for all that the delivery log keeps.
        """
        is_kept = status == "failed" and self._has_room_for_failed
        return is_kept or self.includes(status) or self._delivery_log is not None

    @property
    def _has_room_for_failed(self) -> bool:
        # More than will be reported, because a message that is listed as failed may be listed as delivered, too.
        return len(self._failed) <= 2 * MAX_IDS

    def needs_details(self, status: str) -> bool:
        """
        Check whether more than the status is wanted of messages with a status.

        :param status: The status as Intercom spells it.
        :return: True for those that get a row, and for the reasons that the delivery log keeps.
        """
        return self.includes(status) or (self._delivery_log is not None and status == "failed")

    def includes(self, status: str) -> bool:
        """
        Check whether messages with a status get a row.

        :param status: The status as Intercom spells it.
        :return: Whether they do.
        """
        if self._results in (None, "all"):
            return self._results == "all"
        failed, pending = status == "failed", status not in settled_statuses(self._wait_for)
        return (failed and self._results != "pending") or (pending and self._results != "failed")


def _add_reason(row: Row, client: IntercomClient, limits: RetryLimits) -> Row:
    if row["reason"] is None:
        try:
            found = client.run(calls.whatsapp_status(row["whatsapp_message_id"], limits))
        except IntercomError as error:
            row["reason"] = why_unknown(error)
        else:
            row["reason"] = reason_of(found) or "no reason given"
            row["conversation_id"] = row["conversation_id"] or found.conversation_id
    return row


def write_rows(rows: Iterator[Row], path: str) -> int:
    """
    Write rows as JSON Lines to object storage or a local file, in place of an earlier file once all are written.

    :param rows: The rows.
    :param path: A path or a URI that Airflow's ``ObjectStoragePath`` takes (``s3://conn_id@bucket/...``).
    :return: How many rows were written.
    """
    from airflow.sdk import ObjectStoragePath

    target = ObjectStoragePath(path)
    if target.protocol in ("", "file"):
        target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with open_whole(target) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            written += 1
    return written
