"""Statuses of messages folded into a summary: how many are settled, whether that is enough, and who failed."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from intercom_provider.fields import Limit, WaitFor, allowance

Status: TypeAlias = Literal["sent", "failed", "delivered", "read"]

# What is seen twice counts once, with the higher status. Failed stands below delivered: of one message
# that is said to be both, the customer has the message, and must not get it again by another way.
_RANKS: Final[dict[str, int]] = {"sent": 0, "failed": 1, "delivered": 2, "read": 3}
_STATUSES: Final[tuple[Status, ...]] = ("sent", "failed", "delivered", "read")
_SETTLED: Final[dict[WaitFor, frozenset[str]]] = {
    "delivered": frozenset({"failed", "delivered", "read"}),
    "read": frozenset({"failed", "read"}),
}
_RANK_BITS: Final = 0b11
_DIGEST_BITS: Final = 2**64 - 1 - _RANK_BITS
_MANY: Final = 10_000
_UNKNOWN_KEPT: Final = 20


def rank_of(status: str) -> int:
    """
    Rank a status.

    :param status: Intercom's word for it.
    :return: 0 for ``sent`` and whatever is not known, then ``failed``, ``delivered``, ``read``.
    """
    return _RANKS.get(status, 0)


def status_of(rank: int) -> Status:
    """
    Name a rank.

    :param rank: What :func:`rank_of` gives.
    :return: The status that has it.
    """
    return _STATUSES[rank]


def settled_statuses(wait_for: WaitFor) -> frozenset[str]:
    """
    Name the statuses of messages that are not on their way any more; whatever else there is counts as pending.

    :param wait_for: What a message has to reach.
    :return: The statuses that reach it, and ``failed``.
    """
    return _SETTLED[wait_for]


@dataclass(frozen=True, slots=True)
class Summary:
    """How many messages there are and how far; the four parts add up to ``total``."""

    total: int = 0
    sent: int = 0
    delivered: int = 0
    read: int = 0
    failed: int = 0

    @property
    def reached(self) -> int:
        """How many arrived: delivered or read."""
        return self.delivered + self.read


class StatusCounter:
    """
    Counts every message once, by its highest status, in about nine bytes a message.

    A message is kept as 62 bits of a hash of its id and two bits of rank; sorting puts its ranks side
    by side. Once they are many, they are sorted in 256 parts, so that no more than one is ever there twice.
    """

    def __init__(self) -> None:
        self._parts = [array("Q")]
        self._shift = 64
        self._claimed: list[bytearray] = []
        self.unknown: set[str] = set()

    def add(self, message_id: str, status: str) -> None:
        """
        Count a message, once more if need be.

        :param message_id: Any id that is the message's own.
        :param status: Intercom's word for its status.
        """
        rank = _RANKS.get(status)
        if rank is None:
            rank = 0
            if len(self.unknown) < _UNKNOWN_KEPT:
                self.unknown.add(status[:50])
        digest = _digest(message_id)
        part = self._parts[digest >> self._shift]
        part.append(digest | rank)
        if len(part) == _MANY and len(self._parts) == 1:
            self._divide()

    def summarize(self) -> Summary:
        """
        Add up; nothing may be added afterwards.

        :return: The summary.
        """
        counts = [0, 0, 0, 0]
        for index, part in enumerate(self._parts):
            kept = array("Q")
            for entry in sorted(part):
                if kept and kept[-1] & ~_RANK_BITS == entry & ~_RANK_BITS:
                    kept[-1] = entry
                else:
                    kept.append(entry)
            for entry in kept:
                counts[entry & _RANK_BITS] += 1
            self._parts[index] = kept
        self._claimed = [bytearray(len(part)) for part in self._parts]
        return Summary(total=sum(counts), **dict(zip(_STATUSES, counts, strict=True)))

    def _divide(self) -> None:
        (everything,), self._shift = self._parts, 56
        self._parts = [array("Q") for _ in range(256)]
        for entry in everything:
            self._parts[entry >> self._shift].append(entry)

    def counts_as(self, message_id: str, status: str) -> bool:
        """
        Tell whether a status is the one that a message was counted with; after :meth:`summarize`.

        :param message_id: The id that was added.
        :param status: A status with which it was seen.
        :return: False when a higher one was seen as well.
        """
        return self._find(message_id, status) is not None

    def claim_once(self, message_id: str, status: str) -> bool:
        """
        Tell as :meth:`counts_as`, but only once for each message.

        :param message_id: The id that was added.
        :param status: A status with which it was seen.
        :return: True the first time.
        """
        found = self._find(message_id, status)
        if found is None or self._claimed[found[0]][found[1]]:
            return False
        self._claimed[found[0]][found[1]] = 1
        return True

    def _find(self, message_id: str, status: str) -> tuple[int, int] | None:
        entry = _digest(message_id) | rank_of(status)
        part = self._parts[entry >> self._shift]
        index = bisect_left(part, entry)
        return (entry >> self._shift, index) if index < len(part) and part[index] == entry else None


def _digest(message_id: str) -> int:
    # Python's own hash of a text has 64 bits and another salt in each process; a tally leaves none.
    return hash(message_id) & _DIGEST_BITS


@dataclass(frozen=True, slots=True)
class Growth:
    """
    Since when the number of messages has not grown.

    :param total: The number.
    :param since: When it was first seen, in epoch seconds.
    """

    total: int = -1
    since: float = 0.0

    def after(self, total: int, now: float) -> Growth:
        """
        Take in what was seen now.

        :param total: The number seen.
        :param now: Epoch seconds.
        :return: The growth from now on; itself when nothing was added.
        """
        return Growth(total, now) if total > self.total else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """
    When a wait is over, and when it has failed.

    :param wait_for: What a message has to reach: ``delivered`` (or read) or ``read``.
    :param expected_count: How many messages there are to be; None when that is unknown.
    :param settle_for: Seconds for which the number must not have grown; 0 when the number is known.
    :param max_pending: How many may stay on their way: a number, a share or None for any number.
    :param max_failed: How many may fail: a number, a share or None for any number.
    """

    wait_for: WaitFor = "delivered"
    expected_count: int | None = None
    settle_for: float = 0.0
    max_pending: Limit = 0
    max_failed: Limit = 0

    def is_pending(self, status: str) -> bool:
        """Tell whether a message with that status is still on its way."""
        return status not in settled_statuses(self.wait_for)

    def pending(self, summary: Summary) -> int:
        """How many messages have neither arrived nor failed."""
        return summary.total - self.settled(summary)

    def settled(self, summary: Summary) -> int:
        """How many messages have arrived, as far as is waited for, or failed."""
        return summary.failed + summary.read + (summary.delivered if self.wait_for == "delivered" else 0)

    def has_stopped_growing(self, growth: Growth, now: float) -> bool:
        """Tell whether the number of messages is final, as far as can be known."""
        return self.expected_count is not None or (growth.total > 0 and now - growth.since >= self.settle_for)

    def is_complete(self, total: int, growth: Growth, now: float) -> bool:
        """Tell whether all messages are there, as far as can be known."""
        enough = total >= self.expected_count if self.expected_count is not None else total > 0
        return enough and self.has_stopped_growing(growth, now)

    def is_settled(self, summary: Summary, growth: Growth, now: float) -> bool:
        """Tell whether the wait is over."""
        complete = self.is_complete(summary.total, growth, now)
        return complete and self.pending(summary) <= self.pending_allowed(summary.total)

    def pending_allowed(self, total: int) -> float:
        """How many of so many messages may be pending."""
        return allowance(self.max_pending, self._all(total))

    def too_many_failed(self, summary: Summary) -> bool:
        """Tell whether more messages failed than may."""
        return summary.failed > allowance(self.max_failed, self._all(summary.total))

    def progress(self, summary: Summary) -> str:
        """Say for the log how far it is."""
        arrived = f"{summary.delivered} delivered, {summary.read} read, {summary.failed} failed"
        line = f"{self.settled(summary)} of {max(summary.total, self.expected_count or 0)} settled ({arrived})"
        return f"{line}, {summary.sent} still sent"

    def _all(self, total: int) -> int:
        return max(total, self.expected_count or 0)
