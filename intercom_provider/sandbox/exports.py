"""Exports of engagement data: one job at a time, done some seconds later."""

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

# Sandbox seconds after which a job is in progress, and done.
_PROGRESS_AFTER: Final = 2.0
_DONE_AFTER: Final = 6.0
_FILE_LIVES: Final = 172_800


class BusyError(Exception):
    """A job is under way already."""


@dataclass(slots=True)
class _Job:
    id: str
    after: int
    before: int
    begun: float
    canceled: bool = False


class Exports:
    """The export jobs of one sandbox.

    :param workspace: where the messages are.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._ids = SeededRandom(workspace.settings.seed, "export")
        self._jobs: dict[str, _Job] = {}

    def start(self, after: int, before: int, now: float) -> str:
        """Start a job.

        :param after: unix seconds: only messages from then on.
        :param before: unix seconds: only messages until then.
        :param now: unix time.
        :return: the job's id.
        :raises BusyError: while another one is not done.
        """
        if any(self.status(job, now) in ("pending", "in_progress") for job in self._jobs):
            raise BusyError
        job_id = self._ids.of(len(self._jobs))[:8].hex()
        self._jobs[job_id] = _Job(job_id, after, before, now)
        return job_id

    def cancel(self, job_id: str) -> None:
        """Cancel a job.

        :param job_id: as `start` returned it.
        :raises NotThereError: when there is no such job.
        """
        self._job(job_id).canceled = True

    def status(self, job_id: str, now: float) -> str:
        """Tell how far a job is.

        :param job_id: as `start` returned it.
        :param now: unix time.
        :return: `pending`, `in_progress`, `completed`, `no_data` or `canceled`.
        :raises NotThereError: when there is no such job.
        """
        job = self._job(job_id)
        if job.canceled:
            return "canceled"
        age = (now - job.begun) * self._workspace.settings.speed
        if age < _DONE_AFTER:
            return "pending" if age < _PROGRESS_AFTER else "in_progress"
        return "completed" if any(self._messages(job)) else "no_data"

    def expires(self, job_id: str) -> int:
        """Tell until when a job's file can be downloaded.

        :param job_id: as `start` returned it.
        :return: unix seconds.
        :raises NotThereError: when there is no such job.
        """
        return int(self._job(job_id).begun + _DONE_AFTER / self._workspace.settings.speed) + _FILE_LIVES

    def file(self, job_id: str, now: float) -> bytes:
        """Make the file of a completed job.

        :param job_id: as `start` returned it.
        :param now: unix time.
        :return: a gzipped CSV.
        :raises NotThereError: when there is no such job or it has no file.
        """
        if self.status(job_id, now) != "completed":
            raise NotThereError(job_id)
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(("user_id", "content_id", "content_type", "content_title", "received_at"))
        for message in self._messages(self._job(job_id)):
            title = message.wire.get("subject") or ""
            rows.writerow((message.recipient, message.id, message.message_type, title, message.created_at))
        return gzip.compress(text.getvalue().encode())

    def _job(self, job_id: str) -> _Job:
        if job_id not in self._jobs:
            raise NotThereError(job_id)
        return self._jobs[job_id]

    def _messages(self, job: _Job) -> Iterator[Message]:
        return (each for each in self._workspace.messages if job.after <= each.created_at <= job.before)
