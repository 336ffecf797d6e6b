"""
Reading a ruleset's list of statuses, and its position: what one poll remembers of the list for the next.

The problem: Intercom lists a hundred statuses a page and has no filter for those that changed, so a list of 10,000
messages takes 100 requests, and a wait polls it for hours. Nearly all of these requests would only confirm that the
wait goes on.

The idea: to see that the wait goes on, it is enough to find more pending messages than ``max_pending`` allows. A poll
reads from one cursor on until it has found them, mostly on one page, and leaves the cursor at the last page from which
they are still enough: what stands before need not be read again, whether it has settled or is a few messages that never
will. When the end of the list comes first, a full poll follows.

The cursor is a hint. A message can move to another page, and others before the cursor may be pending. So a partial poll
decides only that the wait goes on, and only by what it has read itself; whether it is settled, and which messages
failed, comes from a full poll alone. A cursor that Intercom refuses leads to a full poll as well.

What it costs, for 100 pages that settle over 30 polls: 330 requests without ``max_pending``, 470 to 770 when it allows
5 %. It costs more, up to a full poll each time, only when as many messages as ``max_pending`` allows stand on the first
pages and never settle.

Rejected: beginning with the first page on which anything is pending (one message there that never settles makes each
poll read all settled pages behind it, 1,770 requests); noting the pending messages of many pages and guessing those of
the others (no fewer requests, and more code); remembering every status, which needs far more room than the state of a
trigger has; polling less often, because then a wait ends late.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, dataclass
from itertools import compress
from typing import TYPE_CHECKING, Final, Self

from intercom_provider.api import calls
from intercom_provider.waiting.poll import FullPoll, PartialPoll, SeenStatus
from intercom_provider.waiting.statuses import StatusCounter, read_status, read_statuses, settled_statuses

if TYPE_CHECKING:
    from intercom_provider.api.flow import Flow
    from intercom_provider.api.models import StatusEvent, StatusPage
    from intercom_provider.waiting.poll import Observer, PollOptions

MAX_PAGES_READ_IN_FULL: Final = 20
"""Lists of up to so many pages are read in full by every poll."""

MAX_PARTIAL_POLLS: Final = 100
"""After so many partial polls one reads everything, so that the counts that users see are not too old."""

# A longer one does not belong into the state of a trigger.
_MAX_CURSOR_CHARS: Final = 2_000


@dataclass(slots=True, kw_only=True)
class ListPosition:
    """
    Where the next partial poll of a long list begins.

    :param page: The number of the page, from 1; 0 when no more messages were pending than may be.
    :param cursor: The cursor of the page; "" for the first.
    :param left: How many messages were pending on the pages before when these were last read.
    :param pages: How many pages the list had.
    :param total: How many messages the full poll counted.
    :param announced: How many messages Intercom announced then.
    :param surplus: How many pending entries are listed elsewhere as settled, and so are not pending messages.
    :param partial_polls: How many partial polls there were since the full poll.
    """

    page: int
    cursor: str
    left: int
    pages: int
    total: int
    announced: int
    surplus: int
    partial_polls: int = 0

    def total_when(self, announced: int) -> int:
        """
        Estimate how many messages there are now.

        :param announced: How many messages Intercom announces now.
        :return: The number.
        """
        return self.total + max(0, announced - self.announced)

    def describe(self, last: int, allowed: float) -> str:
        """
        Return for the log which pages are waited for.

        :param last: The number of the last page that was read.
        :param allowed: How many messages may be pending.
        :return: A part of a line.
        """
        numbers = f"page {self.page}" if last == self.page else f"pages {self.page}-{last}"
        if self.page == 1 or self.left > allowed:
            return f"waiting on {numbers} of {self.pages}"
        settled = "page 1" if self.page == 2 else f"pages 1-{self.page - 1}"  # noqa: PLR2004 - singular or plural
        but = f" but for {self.left} messages" if self.left else ""
        return f"{settled} of {self.pages} settled{but}; waiting on {numbers}"

    def state(self) -> dict[str, object]:
        """
        Return the position as JSON.

        :return: A dictionary for :meth:`resume`.
        """
        return asdict(self)

    @classmethod
    def resume(cls, state: object) -> Self:
        """
        Read a position from JSON.

        :param state: The result of :meth:`state`.
        :return: The position.
        :raises ValueError: When the state is something else.
        """
        if not isinstance(state, dict) or not isinstance(cursor := state.get("cursor"), str):
            raise ValueError("not a position in a list")  # noqa: TRY004 - a stored value of any type
        try:
            return cls(cursor=cursor, **{name: read_count(value) for name, value in state.items() if name != "cursor"})
        except TypeError as error:
            raise ValueError(str(error)) from None


class _Window:
    """The last pages that together hold more pending messages than may be pending."""

    def __init__(self) -> None:
        self.dropped = 0
        """How many messages are pending on the pages before the window."""

        self.is_enough = False
        self._pending = 0
        self._pages: deque[tuple[int, str, int]] = deque()

    def add(self, page: int, cursor: str | None, pending: int, allowed: float) -> None:
        """
        Add the next page, and drop those at the beginning that are not needed.

        :param page: Its number, from 1.
        :param cursor: The cursor of the page; None for the first.
        :param pending: How many messages on it are pending.
        :param allowed: How many may be pending.
        """
        self._pages.append((page, cursor or "", pending))
        self._pending += pending
        while self._pending - self._pages[0][2] > allowed:
            *_, not_needed = self._pages.popleft()
            self._pending -= not_needed
            self.dropped += not_needed
        self.is_enough = self._pending > allowed

    @property
    def start(self) -> tuple[int, str]:
        """The number and the cursor of its first page; no page while the window does not hold enough."""
        return self._pages[0][:2] if self.is_enough else (0, "")


class _PageCounter:
    """
    Counts the messages on pages.

    :param settled: The statuses of settled messages.
    :param created_after: Epoch seconds from which on events count; None for all.
    :param observer: Records the statuses that it wants; None (default) when nobody does.
    """

    def __init__(self, settled: frozenset[str], created_after: float | None, observer: Observer | None = None) -> None:
        self.counter, self.earlier = StatusCounter(), StatusCounter()
        self._settled = settled
        # Intercom counts in whole seconds, so a fraction would leave out what came in the same second.
        self._created_after = None if created_after is None else math.floor(created_after)
        self._observer = observer

    def add(self, page: StatusPage) -> int:
        """Count the messages on a page; return how many of them are pending."""
        self.counter.unreadable += page.unreadable
        ids, statuses, indexes = page.ids, read_statuses(page.statuses), list(range(len(page.ids)))
        if (since := self._created_after) is not None:
            is_earlier = [moment is not None and moment < since for moment in page.created_at]
            is_counted = [not each for each in is_earlier]
            self.earlier.add_all(compress(ids, is_earlier), compress(statuses, is_earlier))
            ids, statuses = list(compress(ids, is_counted)), list(compress(statuses, is_counted))
            indexes = list(compress(indexes, is_counted))
        self.counter.add_all(ids, statuses)
        if self._observer is not None:
            wanted = {status for status in set(statuses) if self._observer.wants(status)}
            chosen = [index for index, status in zip(indexes, statuses, strict=True) if status in wanted]
            for event in page.read_events(chosen):
                self._observer.add(_seen(event))
        return len(statuses) - sum(map(statuses.count, self._settled))


def _seen(event: StatusEvent) -> SeenStatus:
    status, reason = read_status(event.status)
    return SeenStatus(
        event.whatsapp_message_id,
        status,
        event.conversation_id,
        event.user_id,
        reason,
        event.template_name,
        event.updated_at,
    )


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
    window, pages = _Window(), calls.Pages(ruleset_id)
    counted = _PageCounter(settled_statuses(options.criteria.wait_for), created_after, options.observer)
    announced, always_announced, entries = 0, True, 0
    while not pages.done:
        cursor = pages.after
        page = yield from pages.read(options.others if pages.number else options.first)
        announced = max(announced, page.total_count or 0)
        always_announced &= page.total_count is not None
        pending = counted.add(page)
        entries += pending
        if not window.is_enough:
            window.add(pages.number, cursor, pending, options.criteria.pending_allowed(announced))
    summary = counted.counter.summarize()
    # Count ids, not entries: when a message moves while the list is read, another one can be listed twice.
    seen = summary.total + counted.earlier.summarize().total
    agrees = seen == announced or (announced == 0 and not always_announced)
    found = FullPoll(summary, counted.counter, None if agrees else (seen, announced))
    start, start_cursor = window.start
    if pages.number <= MAX_PAGES_READ_IN_FULL or not always_announced or len(start_cursor) > _MAX_CURSOR_CHARS:
        return found, None
    return found, ListPosition(
        page=start,
        cursor=start_cursor,
        left=window.dropped,
        pages=pages.number,
        total=summary.total,
        announced=announced,
        surplus=max(0, entries - options.criteria.pending(summary)),
    )


def read_part_of_list(
    ruleset_id: str, created_after: float | None, position: ListPosition, options: PollOptions
) -> Flow[PartialPoll | None]:
    """
    Read as many pages of a ruleset's list as it takes to see that the wait goes on, mostly one.

    :param ruleset_id: The Outbound message's id.
    :param created_after: Epoch seconds from which on events count; None for all.
    :param position: Where to begin; moved on by what is read.
    :param options: The options of the poll; its statuses are not observed.
    :return: The result of the poll; None when the list has to be read in full.
    :raises IntercomError: When a page could not be read.
    """
    criteria = options.criteria
    counted = _PageCounter(settled_statuses(criteria.wait_for), created_after)
    position.partial_polls += 1
    window, pages = _Window(), calls.Pages(ruleset_id, position.cursor or None)
    total, number = position.total, max(1, position.page)
    while not pages.done:
        cursor = pages.after
        page = yield from pages.read(options.others if pages.number else options.first)
        if page.total_count is None:
            return None
        total = position.total_when(page.total_count)
        pending = counted.add(page)
        if not criteria.is_complete(total, options.growth.after(total, options.now), options.now):
            return PartialPoll(may_be_settled=False, total=total, counter=counted.counter)
        if not position.page:
            break
        allowed = criteria.pending_allowed(total) + position.surplus
        window.add(number, cursor, pending, allowed)
        if window.is_enough:
            position.page, position.cursor = window.start
            position.left += window.dropped
            where = position.describe(number, allowed)
            return PartialPoll(
                may_be_settled=False, total=total, counter=counted.counter, where=where, page=position.page
            )
        number += 1
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
