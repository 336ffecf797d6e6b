"""
Reading a ruleset's list of statuses, and its position: what one poll remembers of the list for the next.

The problem: Intercom lists a hundred statuses a page and has no filter for those that changed, so a list of 10,000
messages takes 100 requests, and a wait polls it for hours. Nearly all of these requests would only confirm that the
wait goes on.

The idea: to see that the wait goes on, it is enough to find more pending messages than ``max_pending`` allows. A full
poll notes in a :class:`Survey` on which pages messages were pending, with a :class:`Mark` that holds the page's
cursor. The next poll reads only marked pages, until they hold too many pending messages; mostly that takes one page.
When ``max_pending`` is large, no single page is enough. Then the poll reads a tenth of the marked pages and guesses
the rest, as if the messages on them had settled at the same rate.

All of this is a hint. A message can move to another page, a mark can be missing (at most 128 are kept, spread over the
list), and a guess can be wrong. So a partial poll decides only that the wait goes on; whether it is settled, and which
messages failed, comes from a full poll alone. A position that Intercom refuses, or a list that has changed by more than
a tenth, leads to a full poll as well.

Rejected: remembering every status, which needs far more room than the state of a trigger has; trusting settled pages
for good, because messages move between pages; polling less often, because then a wait ends late.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final, Self

from intercom_provider.api import calls
from intercom_provider.waiting.poll import FullPoll, PartialPoll, SeenStatus
from intercom_provider.waiting.statuses import StatusCounter, read_status, settled_statuses

if TYPE_CHECKING:
    from intercom_provider.api.flow import Flow
    from intercom_provider.api.models import StatusPage
    from intercom_provider.waiting.poll import Observe, PollOptions
    from intercom_provider.waiting.statuses import Summary

MAX_PAGES_READ_IN_FULL: Final = 20
"""Lists of up to so many pages are read in full by every poll."""

MAX_PARTIAL_POLLS: Final = 100
"""After so many partial polls one reads everything, so that the counts that users see are not too old."""

_MAX_MARKS: Final = 128
_MAX_CURSOR_CHARS: Final = 8_000
_MAX_CHANGED_SHARE: Final = 0.1
# When several pages are needed to see that the wait goes on, read a tenth of them once the guess is below twice what
# max_pending allows.
_PARTS_OF_QUEUE: Final = 10
_NEAR_THE_END: Final = 2


@dataclass(slots=True)
class Mark:
    """
    A page on which messages were pending.

    :param page: Its number, from 1.
    :param cursor: The cursor of the page; "" for the first.
    :param pending: How many messages on it were pending when it was last read.
    :param read: The number of the partial poll that read it last; 0 for the full poll.
    """

    page: int
    cursor: str
    pending: int
    read: int = 0


@dataclass(slots=True, kw_only=True)
class ListPosition:
    """
    Where messages of a long list were pending.

    :param pages: How many pages the list had.
    :param total: How many messages the full poll counted.
    :param announced: How many messages Intercom announced then.
    :param pending: How many entries of the list were pending then, on all pages.
    :param surplus: How many of these entries are listed elsewhere as settled, and so are not pending messages.
    :param marked: How many entries were pending then on the marked pages.
    :param marks: The pages with pending entries, or an even selection of them.
    :param start: The page to begin with, because it alone showed that the wait goes on; 0 for none.
    :param partial_polls: How many partial polls there were since the full poll.
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
        Return the marked pages in the order in which a partial poll reads them.

        :return: With a start page, that page and those behind it first. Else the page on which most messages may have
            settled, then the pages that were read longest ago.
        """
        if self.start:
            return sorted(self.marks, key=lambda mark: (mark.page < self.start, mark.page))
        oldest_first = sorted(self.marks, key=lambda mark: (mark.read, mark.page))
        first = max(oldest_first, key=lambda mark: mark.pending * (self.partial_polls + 1 - mark.read), default=None)
        return [*([first] if first else []), *(mark for mark in oldest_first if mark is not first)]

    def total_when(self, announced: int) -> int:
        """
        Estimate how many messages there are now.

        :param announced: How many messages Intercom announces now.
        :return: The number.
        """
        return self.total + max(0, announced - self.announced)

    def has_changed_much(self, announced: int) -> bool:
        """
        Check whether the list has changed too much for guesses.

        :param announced: How many messages Intercom announces now.
        :return: Whether the list should be read in full.
        """
        return abs(announced - self.announced) > _MAX_CHANGED_SHARE * self.announced

    def guess(self, now_pending: int, before: int, unread: int) -> float:
        """
        Estimate how many messages are pending, as if unread pages had settled at the rate of those that were read.

        :param now_pending: How many messages are pending on the pages that were read.
        :param before: How many were pending on these pages before.
        :param unread: How many were pending on the other marked pages when these were last read.
        :return: The number.
        """
        unmarked_factor = self.pending / self.marked if self.marked else 1.0
        return unmarked_factor * (now_pending + unread * now_pending / max(1, before))

    def before(self, page: int) -> int | None:
        """
        Return how many messages were pending before a page when its predecessors were last read.

        :param page: The page's number.
        :return: The number; None when not all pages with pending messages are marked.
        """
        if self.marked < self.pending:
            return None
        return sum(mark.pending for mark in self.marks if mark.page < page)

    def describe(self, page: int, allowed: float) -> str:
        """
        Return for the log which page is waited for.

        :param page: The page's number.
        :param allowed: How many messages may be pending.
        :return: A part of a line.
        """
        left = self.before(page)
        if page == 1 or left is None or left > allowed:
            return f"waiting on page {page} of {self.pages}"
        settled = "page 1" if page == 2 else f"pages 1-{page - 1}"  # noqa: PLR2004 - singular or plural
        but = f" but for {left} messages" if left else ""
        return f"{settled} of {self.pages} settled{but}; waiting on page {page}"

    def state(self) -> dict[str, object]:
        """
        Return the position as JSON.

        :return: A dictionary for :meth:`resume`.
        """
        marks = [[mark.page, mark.cursor, mark.pending, mark.read] for mark in self.marks]
        return {name: value for name, value in asdict(self).items() if name != "marks"} | {"marks": marks}

    @classmethod
    def resume(cls, state: object) -> Self:
        """
        Read a position from JSON.

        :param state: The result of :meth:`state`.
        :return: The position.
        :raises ValueError: When the state is something else.
        """
        if not isinstance(state, dict) or not isinstance(listed := state.get("marks"), list):
            raise ValueError("not a position in a list")  # noqa: TRY004 - a stored value of any type
        try:
            counts = {name: read_count(value) for name, value in state.items() if name != "marks"}
            marks = [
                Mark(read_count(page), cursor, read_count(pending), read_count(read))
                for page, cursor, pending, read in listed
            ]
            position = cls(marks=marks, **counts)
        except TypeError as error:
            raise ValueError(str(error)) from None
        if len(marks) > _MAX_MARKS or not all(isinstance(mark.cursor, str) for mark in marks):
            raise ValueError("not the marks of a list")
        return position


@dataclass(slots=True)
class Survey:
    """Collects marks while a list is read in full."""

    pending: int = 0
    _marks: list[Mark] = field(default_factory=list)
    _found: int = 0
    _every: int = 1

    def note(self, page: int, cursor: str | None, pending: int) -> None:
        """
        Record a page.

        :param page: Its number, from 1.
        :param cursor: The cursor of the page; None for the first.
        :param pending: How many messages on it are pending.
        """
        if not pending:
            return
        self.pending += pending
        if self._found % self._every == 0:
            self._marks.append(Mark(page, cursor or "", pending))
        self._found += 1
        # Dropping every other mark keeps the rest spread evenly over the whole list.
        while len(self._marks) > _MAX_MARKS or sum(len(mark.cursor) for mark in self._marks) > _MAX_CURSOR_CHARS:
            self._marks = self._marks[::2] if len(self._marks) > 1 else []
            self._every *= 2

    def position(self, *, pages: int, announced: int | None, summary: Summary, pending: int) -> ListPosition | None:
        """
        Return the position that the marks make up.

        :param pages: How many pages the list has.
        :param announced: How many messages Intercom announced; None when it did not on every page.
        :param summary: The counts.
        :param pending: How many messages are pending.
        :return: The position; None when the list is short, or when no mark could be kept.
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


class _PageCounter:
    """
    Counts the messages on pages.

    :param settled: The statuses of settled messages.
    :param created_after: Epoch seconds from which on events count; None for all.
    :param observe: Is called with every status that counts.
    """

    def __init__(self, settled: frozenset[str], created_after: float | None, observe: Observe) -> None:
        self.counter, self.earlier = StatusCounter(), StatusCounter()
        self._settled = settled
        # Intercom counts in whole seconds, so a fraction would leave out what came in the same second.
        self._created_after = None if created_after is None else math.floor(created_after)
        self._observe = observe

    def add(self, page: StatusPage) -> int:
        """Count the messages on a page; return how many of them are pending."""
        pending = 0
        self.counter.unreadable += page.unreadable
        for event in page.events:
            status, reason = read_status(event.status)
            since, created_at = self._created_after, event.created_at
            if since is not None and created_at is not None and created_at < since:
                self.earlier.add(event.whatsapp_message_id, status)
                continue
            self.counter.add(event.whatsapp_message_id, status)
            pending += status not in self._settled
            self._observe(
                SeenStatus(
                    event.whatsapp_message_id,
                    status,
                    event.conversation_id,
                    event.user_id,
                    reason,
                    event.template_name,
                    event.updated_at,
                )
            )
        return pending


def read_list(
    ruleset_id: str, created_after: float | None, options: PollOptions
) -> Flow[tuple[FullPoll, ListPosition | None]]:
    """
    Read a ruleset's list in full.

    :param ruleset_id: The Outbound message's id.
    :param created_after: Epoch seconds from which on events count; None for all.
    :param options: The options of the poll.
    :return: The result of the poll, and the list's position; None for a short list.
    :raises IntercomError: When a page could not be read.
    """
    survey, pages = Survey(), calls.Pages(ruleset_id)
    counted = _PageCounter(settled_statuses(options.criteria.wait_for), created_after, options.observe)
    announced, always_announced = 0, True
    while not pages.done:
        cursor = pages.after
        page = yield from pages.read(options.others if pages.number else options.first)
        announced = max(announced, page.total_count or 0)
        always_announced &= page.total_count is not None
        survey.note(pages.number, cursor, counted.add(page))
    summary = counted.counter.summarize()
    # Count ids, not entries: when a message moves while the list is read, another one can be listed twice.
    seen = summary.total + counted.earlier.summarize().total
    position = survey.position(
        pages=pages.number,
        announced=announced if always_announced else None,
        summary=summary,
        pending=options.criteria.pending(summary),
    )
    agrees = seen == announced or (announced == 0 and not always_announced)
    return FullPoll(summary, counted.counter, None if agrees else (seen, announced)), position


def read_part_of_list(
    ruleset_id: str, created_after: float | None, position: ListPosition, options: PollOptions
) -> Flow[PartialPoll | None]:
    """
    Read as many pages of a ruleset's list as it takes to see that the wait goes on, mostly one.

    :param ruleset_id: The Outbound message's id.
    :param created_after: Epoch seconds from which on events count; None for all.
    :param position: Where messages were pending; updated with the pages that are read.
    :param options: The options of the poll; its statuses are not observed.
    :return: The result of the poll; None when the list has to be read in full.
    :raises IntercomError: When a page could not be read.
    """
    criteria = options.criteria
    counted = _PageCounter(settled_statuses(criteria.wait_for), created_after, lambda _: None)
    position.partial_polls += 1
    still = before = 0
    total = position.total
    # When nothing was pending, the first page still shows whether the list has grown.
    position.marks = position.marks or [Mark(1, "", 0)]
    queue = position.queue()
    unread = sum(mark.pending for mark in queue)
    for number, mark in enumerate(queue):
        page = yield from calls.Pages(ruleset_id, mark.cursor or None).read(options.others if number else options.first)
        if page.total_count is None:
            return None
        total = position.total_when(page.total_count)
        unread -= mark.pending
        before += mark.pending
        mark.pending, mark.read = counted.add(page), position.partial_polls
        still += mark.pending
        position.marks = [each for each in position.marks if each.pending]
        where, waits_on = "", None
        if criteria.is_complete(total, options.growth.after(total, options.now), options.now):
            allowed = criteria.pending_allowed(total) + position.surplus
            guess = position.guess(still, before, unread)
            near = guess <= _NEAR_THE_END * allowed and number + 1 < len(queue) / _PARTS_OF_QUEUE
            if mark.pending > allowed:
                position.start, where = mark.page, position.describe(mark.page, allowed)
            elif guess <= allowed or near:
                continue
            elif position.has_changed_much(page.total_count):
                return None
            else:
                position.start, where = 0, f"waiting on page {mark.page} of {position.pages} and others"
            waits_on = mark.page
        return PartialPoll(may_be_settled=False, total=total, counter=counted.counter, where=where, page=waits_on)
    position.start = 0
    return PartialPoll(may_be_settled=True, total=total, counter=counted.counter)


def read_count(value: object) -> int:
    """
    Read a count from stored state.

    :param value: The value.
    :return: A whole number, 0 or above.
    :raises ValueError: When it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value
