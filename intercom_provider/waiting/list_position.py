"""
What one look leaves for the next, so that a poll need not read everything; a few kilobytes of JSON.

Only hints: they tell whether a full look is worth while. A wait ends on a full look alone.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Self

from intercom_provider.waiting.statuses import Summary, rank_of, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PAGES_READ_IN_FULL: Final = 20
"""Up to so many pages a list is read in full at every poll."""

MAX_PARTIAL_POLLS: Final = 100
"""After so many polls that read a part, one reads everything, so that what is told is not too old."""

_RANKS: Final = bytes(range(4))
_MOST_MARKS: Final = 128
_MOST_CHARACTERS: Final = 8_000
# A list that has grown by a tenth since it was read is no longer the list that is remembered.
_GROWN_A_LOT: Final = 0.1


@dataclass(slots=True)
class Mark:
    """
    A page on which something is pending.

    :param page: Its number, from 1.
    :param cursor: What leads to it; "" for the first.
    :param pending: How many pending messages it had when it was last read.
    :param read: The glance that read it last; 0 for the full look.
    """

    page: int
    cursor: str
    pending: int
    read: int = 0


@dataclass(slots=True, kw_only=True)
class ListPosition:
    """
    Where a long list has something pending.

    :param pages: How many pages it had.
    :param total: How many messages the full look counted.
    :param announced: How many Intercom announced then.
    :param pending: How many were listed as pending then, on all pages.
    :param surplus: How many of these are listed elsewhere as settled, and so are not pending.
    :param marked: How many were listed as pending then on the marked pages.
    :param marks: The pages that had something pending, or an even choice of them.
    :param start: The page that a glance begins with, as it alone held up the wait; 0 for none.
    :param partial_polls: How many glances there were since the full look.
    """

    pages: int
    total: int
    announced: int
    pending: int
    surplus: int
    marked: int
    marks: list[Mark]
    start: int = 0
    partial_polls: int = 0

    def queue(self) -> list[Mark]:
        """
        Order the marked pages for a glance.

        :return: The page that held up the wait and those behind it; or, where it takes several to hold it
            up, the one of which the most may have changed, and then those that were read longest ago.
        """
        if self.start:
            return sorted(self.marks, key=lambda mark: (mark.page < self.start, mark.page))
        oldest_first = sorted(self.marks, key=lambda mark: (mark.read, mark.page))
        most = max(oldest_first, key=lambda mark: mark.pending * (self.partial_polls + 1 - mark.read), default=None)
        return [*([most] if most else []), *(mark for mark in oldest_first if mark is not most)]

    def total_when(self, announced: int) -> int:
        """
        Guess how many messages there are.

        :param announced: How many Intercom announces now.
        :return: The number.
        """
        return self.total + max(0, announced - self.announced)

    def has_changed_much(self, announced: int) -> bool:
        """
        Tell whether the list is too different by now for guesses.

        :param announced: How many Intercom announces now.
        :return: Whether it should be read anew.
        """
        return abs(announced - self.announced) > _GROWN_A_LOT * self.announced

    def guess(self, now_pending: int, before: int, unread: int) -> float:
        """
        Guess how many messages are still pending, as if those not read had settled as fast as those that were.

        :param now_pending: How many are pending on the pages that were read.
        :param before: How many that were before.
        :param unread: How many were pending, when last seen, on the marked pages that were not read.
        :return: The number.
        """
        every = self.pending / self.marked if self.marked else 1.0
        return every * (now_pending + unread * now_pending / max(1, before))

    def before(self, page: int) -> int | None:
        """
        Count what is pending before a page, as far as is known.

        :param page: The page's number.
        :return: How many; None when not every page with something pending was marked.
        """
        if self.marked < self.pending:
            return None
        return sum(mark.pending for mark in self.marks if mark.page < page)

    def state(self) -> dict[str, Any]:
        """
        Give it as JSON.

        :return: What :meth:`resume` takes.
        """
        marks = [[mark.page, mark.cursor, mark.pending, mark.read] for mark in self.marks]
        return {name: value for name, value in asdict(self).items() if name != "marks"} | {"marks": marks}

    @classmethod
    def resume(cls, state: object) -> Self:
        """
        Read it from JSON.

        :param state: What :meth:`state` gave.
        :return: The place.
        :raises ValueError: When it is anything else.
        """
        if not isinstance(state, dict) or not isinstance(listed := state.get("marks"), list):
            raise ValueError("no place in a list")  # noqa: TRY004 - whatever it is, it is not ours
        try:
            counts = {name: _count(value) for name, value in state.items() if name != "marks"}
            marks = [
                Mark(_count(page), cursor, _count(pending), _count(read)) for page, cursor, pending, read in listed
            ]
            position = cls(marks=marks, **counts)
        except TypeError as error:
            raise ValueError(str(error)) from None
        if len(marks) > _MOST_MARKS or not all(isinstance(mark.cursor, str) for mark in marks):
            raise ValueError("no marks")
        return position


@dataclass(slots=True)
class Survey:
    """Notes, while a list is read in full, where something is pending."""

    pending: int = 0
    _marks: list[Mark] = field(default_factory=list)
    _found: int = 0
    _every: int = 1

    def note(self, page: int, cursor: str | None, pending: int) -> None:
        """
        Take in a page.

        :param page: Its number, from 1.
        :param cursor: What leads to it; None for the first.
        :param pending: How many messages on it are pending.
        """
        if not pending:
            return
        self.pending += pending
        if self._found % self._every == 0:
            self._marks.append(Mark(page, cursor or "", pending))
        self._found += 1
        # Every other one goes, so that those that stay are spread over the whole list.
        while len(self._marks) > _MOST_MARKS or sum(len(mark.cursor) for mark in self._marks) > _MOST_CHARACTERS:
            self._marks = self._marks[::2] if len(self._marks) > 1 else []
            self._every *= 2

    def position(self, *, pages: int, announced: int | None, summary: Summary, pending: int) -> ListPosition | None:
        """
        Sum up.

        :param pages: How many pages there were.
        :param announced: How many messages Intercom announced; None when it did not.
        :param summary: What was counted.
        :param pending: How many of these are pending.
        :return: The place; None when the list is short, or when nothing can be remembered of it.
        """
        if pages <= MAX_PAGES_READ_IN_FULL or announced is None or (self.pending and not self._marks):
            return None
        return ListPosition(
            pages=pages,
            total=summary.total,
            announced=announced,
            pending=self.pending,
            surplus=max(0, self.pending - pending),
            marked=sum(mark.pending for mark in self._marks),
            marks=self._marks,
        )


@dataclass(slots=True)
class LastStatuses:
    """
    What is known of single messages.

    :param ranks: The highest status that each was seen with.
    :param next: Which is asked for next: those behind it were asked for longest ago.
    """

    ranks: bytearray
    next: int = 0

    @classmethod
    def nothing(cls, number: int) -> Self:
        """
        Know nothing yet.

        :param number: How many messages there are.
        :return: All of them ``sent``.
        """
        return cls(bytearray(number))

    def status(self, index: int) -> str:
        """Name the highest status that a message was seen with."""
        return status_of(self.ranks[index])

    def update(self, index: int, status: str) -> str:
        """
        Take in a status.

        :param index: Which message.
        :param status: Intercom's word for its status.
        :return: The status that counts: no message goes back to a lower one.
        """
        if rank_of(status) < self.ranks[index]:
            return self.status(index)
        self.ranks[index] = rank_of(status)
        return status

    def round_robin(self) -> Iterator[int]:
        """Order the messages, the one first that was asked for longest ago."""
        return chain(range(self.next, len(self.ranks)), range(min(self.next, len(self.ranks))))

    def summary(self, *, refused: int, untraceable: int) -> Summary:
        """
        Count.

        :param refused: Messages that were refused when they were sent.
        :param untraceable: Messages that were sent, perhaps, without an id.
        :return: The counts.
        """
        counts = {status_of(rank): self.ranks.count(rank) for rank in range(4)}
        return Summary(
            total=len(self.ranks) + refused + untraceable,
            sent=counts["sent"] + untraceable,
            delivered=counts["delivered"],
            read=counts["read"],
            failed=counts["failed"] + refused,
        )

    def state(self) -> dict[str, Any]:
        """
        Give it as JSON, compressed: a hundred thousand of them would not fit where it is kept.

        :return: What :meth:`resume` takes.
        """
        return {"ranks": b64encode(zlib.compress(self.ranks)).decode(), "next": self.next}

    @classmethod
    def resume(cls, state: object, number: int) -> Self:
        """
        Read it from JSON.

        :param state: What :meth:`state` gave.
        :param number: How many messages there are.
        :return: What is known.
        :raises ValueError: When it is anything else.
        """
        ranks = state.get("ranks") if isinstance(state, dict) else None
        if not isinstance(state, dict) or not isinstance(ranks, str):
            raise ValueError("not what is known of messages")  # noqa: TRY004 - whatever it is, it is not ours
        try:
            read = bytearray(zlib.decompressobj().decompress(b64decode(ranks, validate=True), number + 1))
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if len(read) != number or read.translate(None, _RANKS):
            raise ValueError("not what is known of these messages")
        return cls(read, _count(state.get("next")))


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no number of anything")
    return value
