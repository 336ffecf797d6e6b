"""When a wait is settled, and when too many messages have failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from intercom_provider.fields import allowance
from intercom_provider.waiting.statuses import settled_statuses

if TYPE_CHECKING:
    from intercom_provider.fields import Limit, WaitFor
    from intercom_provider.waiting.statuses import Summary


@dataclass(frozen=True, slots=True)
class Growth:
    """
    The highest number of messages that was seen, and since when.

    :param total: The number of messages; -1 before the first poll.
    :param since: When that number was first seen, in epoch seconds.
    """

    total: int = -1
    since: float = 0.0

    def after(self, total: int, now: float) -> Growth:
        """
        Return the growth after a poll.

        :param total: The number of messages that the poll saw.
        :param now: Epoch seconds.
        :return: A new growth when there are more messages than before, else this one.
        """
        return Growth(total, now) if total > self.total else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """
    Conditions under which a wait is settled, and under which it has failed.

    :param wait_for: The status that messages have to reach: ``delivered`` (or read) or ``read``.
    :param expected_count: How many messages there will be; None when that is unknown.
    :param settle_for: Seconds for which the number of messages must not have grown; 0 when the number is known.
    :param max_pending: How many messages may be pending: a number, a share, or None for any number.
    :param max_failed: How many messages may fail: a number, a share, or None for any number.
    """

    wait_for: WaitFor = "delivered"
    expected_count: int | None = None
    settle_for: float = 0.0
    max_pending: Limit = 0
    max_failed: Limit = 0

    def is_pending(self, status: str) -> bool:
        """Check whether a message with that status has neither reached ``wait_for`` nor failed."""
        return status not in settled_statuses(self.wait_for)

    def reached(self, summary: Summary) -> int:
        """Return how many messages have reached ``wait_for``."""
        return summary.read + (summary.delivered if self.wait_for == "delivered" else 0)

    def pending(self, summary: Summary) -> int:
        """Return how many messages have neither reached ``wait_for`` nor failed."""
        return summary.total - self.reached(summary) - summary.failed

    def counts(self, summary: Summary) -> dict[str, int]:
        """
        Return the counts that users see.

        :param summary: The counts by status.
        :return: ``total``, and ``reached``, ``pending`` and ``failed``, which add up to it; ``delivered`` and ``read``.
        """
        return {
            "total": summary.total,
            "reached": self.reached(summary),
            "pending": self.pending(summary),
            "failed": summary.failed,
            "delivered": summary.delivered,
            "read": summary.read,
        }

    def has_stopped_growing(self, growth: Growth, now: float) -> bool:
        """Check whether no more messages are to be expected."""
        return self.expected_count is not None or (growth.total > 0 and now - growth.since >= self.settle_for)

    def is_complete(self, total: int, growth: Growth, now: float) -> bool:
        """Check whether there are enough messages, and no more to be expected."""
        enough = total >= self.expected_count if self.expected_count is not None else total > 0
        return enough and self.has_stopped_growing(growth, now)

    def is_settled(self, summary: Summary, growth: Growth, now: float) -> bool:
        """Check whether the wait is over."""
        complete = self.is_complete(summary.total, growth, now)
        return complete and self.pending(summary) <= self.pending_allowed(summary.total)

    def pending_allowed(self, total: int) -> float:
        """Return how many of ``total`` messages may be pending."""
        return allowance(self.max_pending, self._base(total))

    def too_many_failed(self, summary: Summary) -> bool:
        """Check whether more messages failed than ``max_failed`` allows."""
        return summary.failed > allowance(self.max_failed, self._base(summary.total))

    def progress(self, summary: Summary) -> str:
        """
        Return the counts as a text for the log.

        :param summary: The counts by status.
        :return: A part of a line.
        """
        settled = summary.total - self.pending(summary)
        statuses = f"{summary.delivered} delivered, {summary.read} read, {summary.failed} failed"
        return f"{settled} of {self._base(summary.total)} settled ({statuses}), {self.pending(summary)} still pending"

    def _base(self, total: int) -> int:
        """Return the number of messages that shares refer to."""
        return max(total, self.expected_count or 0)
