"""Exports of engagement data. One job runs at a time and completes after some seconds."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from intercom_provider.sandbox.delivery import SeededRandom
from intercom_provider.sandbox.workspace import NotThereError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.sandbox.workspace import Message, Workspace

# Sandbox seconds after the start of a job.
_IN_PROGRESS_AFTER_SECONDS: Final = 2.0
_DONE_AFTER_SECONDS: Final = 6.0
# Real seconds.
_FILE_LIFETIME_SECONDS: Final = 172_800


class BusyError(Exception):
    """Another job is not done yet."""


@dataclass(slots=True)
class _Job:
    id: str
    after: int
    before: int
    started: float
    canceled: bool = False


class Exports:
    """The export jobs of one sandbox.

    :param workspace: holds the messages.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._random = SeededRandom(workspace.settings.seed, "export")
        self._jobs: dict[str, _Job] = {}

    def start(self, after: int, before: int, now: float) -> str:
        """Start a job.

        :param after: unix seconds; earlier messages are left out.
        :param before: unix seconds; later messages are left out.
        :param now: unix time.
        :return: the job's id.
        :raises BusyError: while another job is not done.
        """
        if any(self.status(job, now) in ("pending", "in_progress") for job in self._jobs):
            raise BusyError
        job_id = self._random.of(len(self._jobs))[:8].hex()
        self._jobs[job_id] = _Job(job_id, after, before, now)
        return job_id

    def cancel(self, job_id: str) -> None:
        """Cancel a job.

        :param job_id: as `start` returned it.
        :raises NotThereError: when there is no such job.
        """
        self._job(job_id).canceled = True

    def status(self, job_id: str, now: float) -> str:
        """Return the status of a job.

        :param job_id: as `start` returned it.
        :param now: unix time.
        :return: `pending`, `in_progress`, `completed`, `no_data` or `canceled`.
        :raises NotThereError: when there is no such job.
        """
        job = self._job(job_id)
        if job.canceled:
            return "canceled"
        age = (now - job.started) * self._workspace.settings.speed
        if age < _DONE_AFTER_SECONDS:
            return "pending" if age < _IN_PROGRESS_AFTER_SECONDS else "in_progress"
        return "completed" if any(self._messages(job)) else "no_data"

    def expires_at(self, job_id: str) -> int:
        """Return the time at which a job's file expires.

        :param job_id: as `start` returned it.
        :return: unix seconds.
        :raises NotThereError: when there is no such job.
        """
        return (
            int(self._job(job_id).started + _DONE_AFTER_SECONDS / self._workspace.settings.speed)
            + _FILE_LIFETIME_SECONDS
        )

    def file(self, job_id: str, now: float) -> bytes:
        """Build the file of a completed job.

        :param job_id: as `start` returned it.
        :param now: unix time.
        :return: a gzipped CSV.
        :raises NotThereError: when there is no such job, or it has no file.
        """
        if self.status(job_id, now) != "completed":
            raise NotThereError(job_id)
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(("user_id", "content_id", "content_type", "content_title", "received_at"))
        for message in self._messages(self._job(job_id)):
            title = message.wire.get("subject") or ""
            rows.writerow((message.recipient, message.id, message.message_type, title, message.created_at))
        return gzip.compress(text.getvalue().encode(errors="replace"))

    def _job(self, job_id: str) -> _Job:
        if job_id not in self._jobs:
            raise NotThereError(job_id)
        return self._jobs[job_id]

    def _messages(self, job: _Job) -> Iterator[Message]:
        return (each for each in self._workspace.messages if job.after <= each.created_at <= job.before)
