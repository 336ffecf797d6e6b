"""What a wait looks at, and what there is to read of it: everything, or as much as it takes to wait on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeAlias

from intercom_provider.api import calls
from intercom_provider.api.errors import NotFoundError
from intercom_provider.api.parallel import Parallel
from intercom_provider.results.message_ids import StreamedIds
from intercom_provider.waiting.list_position import LastStatuses, ListPosition, Mark, Survey
from intercom_provider.waiting.statuses import Criteria, Growth, StatusCounter, Summary, settled_statuses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.api.flow import Flow, RetryLimits
    from intercom_provider.api.models import StatusPage
    from intercom_provider.api.parallel import ParallelFlow

# Where it takes several pages to hold up the wait, a tenth of them is read once the end seems to be near.
_SHARE_A_POLL: Final = 10
_NEAR: Final = 2


class SeenStatus(NamedTuple):
    """A message as a look saw it."""

    whatsapp_message_id: str
    status: str
    conversation_id: str | None = None
    user_id: str | None = None
    reason: str | None = None
    template_name: str | None = None
    updated_at: int | None = None


class _Seen(NamedTuple):
    """Which of the single messages was seen, by its place among them, and how."""

    position: int
    sighting: SeenStatus


Observe: TypeAlias = Callable[[SeenStatus], None]


@dataclass(frozen=True, slots=True)
class FullPoll:
    """
    What one full look found.

    :param summary: The counts.
    :param counter: Where the counts come from.
    :param mismatch: What the look saw and what Intercom announced, when these differ: the list may have changed
        while it was read. None when they agree.
    :param position: Where a long list has something pending; None for a short one and for single messages.
    """

    summary: Summary
    counter: StatusCounter
    mismatch: tuple[int, int] | None = None
    position: ListPosition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialPoll:
    """
    What a look at a part found: enough to wait on, or a reason for a full look.

    :param may_be_settled: Whether a full look is worth while.
    :param total: How many messages there seem to be.
    :param counter: The statuses that were seen.
    :param summary: What is known of all messages; None when most of it is as old as the last full look.
    :param unasked: How many single messages are pending and were not asked for this time.
    :param where: What holds up the wait, for the log; "" when that is no page.
    :param page: The page that holds it up; None when that is no page.
    """

    may_be_settled: bool
    total: int
    counter: StatusCounter
    summary: Summary | None = None
    unasked: int = 0
    where: str = ""
    page: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PollOptions:
    """
    How a look is made.

    :param first: The patience for its first request: a poll that fails waits for the next.
    :param others: The patience for the rest: what was read should not be read again.
    :param not_yet: Whether a WhatsApp id that Intercom does not know may still turn up.
    :param observe: Is shown every sighting.
    :param needs_details: Tells whether a single message with that status is asked for once more, as more than
        its status is wanted.
    """

    first: RetryLimits
    others: RetryLimits
    not_yet: bool
    observe: Observe
    needs_details: Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """
    What to look at: a ruleset or single WhatsApp messages.

    :param ruleset_id: The Outbound message's id; None for single messages.
    :param created_after: Epoch seconds from which on a ruleset's events count; None for all.
    :param whatsapp_message_ids: The single messages, in an order that stays.
    :param refused: How many messages were refused when they were sent; they count as failed.
    :param untraceable: How many messages were sent, perhaps, without an id; they stay ``sent``.
    """

    ruleset_id: str | None = None
    created_after: float | None = None
    whatsapp_message_ids: Sequence[str] = ()
    refused: int = 0
    untraceable: int = 0

    def __str__(self) -> str:
        if self.ruleset_id is not None:
            return f"WhatsApp ruleset {self.ruleset_id}"
        number = len(self.whatsapp_message_ids) + self.refused + self.untraceable
        return f"{number} WhatsApp message{'' if number == 1 else 's'}"

    @property
    def digest(self) -> str:
        """What tells this from another watch, in a few characters."""
        ids = self.whatsapp_message_ids
        names = [str(ids.state())] if isinstance(ids, StreamedIds) else ids
        text = "\n".join([str(self.ruleset_id), str(self.created_after), *names])
        return blake2b(text.encode(), digest_size=8).hexdigest()

    def state(self) -> dict[str, Any]:
        """
        Give what another process needs to look at the same.

        :return: JSON, for :meth:`resume`: ids and numbers, and where there are more ids.
        """
        ids = self.whatsapp_message_ids
        return {
            "ruleset_id": self.ruleset_id,
            "created_after": self.created_after,
            "whatsapp_message_ids": ids.state() if isinstance(ids, StreamedIds) else list(ids),
            "refused": self.refused,
            "untraceable": self.untraceable,
        }

    @classmethod
    def resume(cls, state: Mapping[str, Any]) -> Self:
        """
        Make it of what another process gave.

        :param state: What :meth:`state` gave.
        :return: What to look at.
        """
        ids = state["whatsapp_message_ids"]
        read = StreamedIds.resume(ids) if isinstance(ids, dict) else tuple(ids)
        return cls(**{**state, "whatsapp_message_ids": read})

    def read_list(self, criteria: Criteria, options: PollOptions) -> Flow[FullPoll]:
        """
        Read a ruleset's list in full.

        :param criteria: What counts as pending.
        :param options: How.
        :return: What was found.
        :raises IntercomError: When a page could not be read.
        """
        counter, earlier, survey, pages = StatusCounter(), StatusCounter(), Survey(), calls.Pages(self.ruleset_id or "")
        settled = settled_statuses(criteria.wait_for)
        announced, always_announced = 0, True
        while not pages.done:
            cursor = pages.after
            page = yield from pages.read(options.others if pages.number else options.first)
            announced = max(announced, page.total_count or 0)
            always_announced &= page.total_count is not None
            survey.note(pages.number, cursor, self._pending_on(page, settled, counter, earlier, options.observe))
        summary = counter.summarize()
        # Each message once: where one moved while the list was read, another one may stand there twice.
        seen = summary.total + earlier.summarize().total
        return FullPoll(
            summary,
            counter,
            None if seen >= announced else (seen, announced),
            survey.position(
                pages=pages.number,
                announced=announced if always_announced else None,
                summary=summary,
                pending=criteria.pending(summary),
            ),
        )

    def read_part_of_list(
        self, position: ListPosition, criteria: Criteria, growth: Growth, now: float, options: PollOptions
    ) -> Flow[PartialPoll | None]:
        """
        Read of a ruleset's list what it takes to see that the wait goes on; it takes one page, mostly.

        :param position: Where something was pending; what is read is noted in it.
        :param criteria: When the wait is over.
        :param growth: Since when the number of messages has not grown.
        :param now: Epoch seconds.
        :param options: How.
        :return: What was found; None when the place is of no use any more.
        :raises IntercomError: When a page could not be read.
        """
        position.partial_polls += 1
        counter, still, before, total = StatusCounter(), 0, 0, position.total
        # Where nothing was pending, a page still tells whether the list has grown.
        position.marks = position.marks or [Mark(1, "", 0)]
        queue = position.queue()
        unread = sum(mark.pending for mark in queue)
        for number, mark in enumerate(queue):
            page = yield from calls.Pages(self.ruleset_id or "", mark.cursor or None).read(
                options.others if number else options.first
            )
            if page.total_count is None:
                return None
            total = position.total_when(page.total_count)
            unread -= mark.pending
            before += mark.pending
            mark.pending = self._pending_on(
                page, settled_statuses(criteria.wait_for), counter, StatusCounter(), options.observe
            )
            mark.read = position.partial_polls
            still += mark.pending
            position.marks = [each for each in position.marks if each.pending]
            if not criteria.is_complete(total, growth.after(total, now), now):
                return PartialPoll(may_be_settled=False, total=total, counter=counter)
            allowed = criteria.pending_allowed(total) + position.surplus
            if mark.pending > allowed:
                position.start = mark.page
                where = _where(position, mark.page, allowed)
                return PartialPoll(may_be_settled=False, total=total, counter=counter, where=where, page=mark.page)
            guess = position.guess(still, before, unread)
            near = guess <= _NEAR * allowed and number + 1 < len(queue) / _SHARE_A_POLL
            if guess > allowed and not near:
                if position.has_changed_much(page.total_count):
                    return None
                position.start = 0
                where = f"waiting on page {mark.page} of {position.pages} and others"
                return PartialPoll(may_be_settled=False, total=total, counter=counter, where=where, page=mark.page)
        position.start = 0
        return PartialPoll(may_be_settled=True, total=total, counter=counter)

    def ask(
        self,
        last_statuses: LastStatuses,
        criteria: Criteria,
        growth: Growth,
        now: float,
        options: PollOptions,
        *,
        most: int | None,
        may_stop_early: bool,
    ) -> ParallelFlow[FullPoll | PartialPoll]:
        """
        Ask for single messages: for those that were pending, and once that may be the end, for what is still open.

        The first is asked for alone; what comes of it tells whether the others are worth a try.

        :param last_statuses: What is known of them; what is heard is noted in it.
        :param criteria: When the wait is over.
        :param growth: Since when the number of messages has not grown.
        :param now: Epoch seconds.
        :param options: How.
        :param most: After how many that are still pending no more are asked for; None to ask for every pending
            message, and to look at all in any case.
        :param may_stop_early: Whether to leave it at a hint that all may be settled.
        :return: A look at all messages; or a glance, when it is not the end.
        :raises IntercomError: When a message could not be asked for.
        """
        try:
            asking = _SinglePoll(self.whatsapp_message_ids, last_statuses, criteria, options)
            round_robin = asking.round_robin(most)
            for first in round_robin:
                asking.take_round_robin((yield from first))
                yield Parallel(round_robin, asking.take_round_robin)
            summary = last_statuses.summary(refused=self.refused, untraceable=self.untraceable)
            may_be_settled = criteria.is_settled(summary, growth, now)
            if most is not None and (may_stop_early or not may_be_settled):
                return PartialPoll(
                    may_be_settled=may_be_settled,
                    total=summary.total,
                    counter=asking.counter,
                    summary=summary,
                    unasked=asking.unasked,
                )
            yield Parallel(asking.rest(), asking.take)
            asking.counter.summarize()
            return FullPoll(last_statuses.summary(refused=self.refused, untraceable=self.untraceable), asking.counter)
        finally:
            if isinstance(self.whatsapp_message_ids, StreamedIds):
                self.whatsapp_message_ids.close()

    def _pending_on(
        self,
        page: StatusPage,
        settled: frozenset[str],
        counter: StatusCounter,
        earlier: StatusCounter,
        observe: Observe,
    ) -> int:
        """Take in a page, what counts and what is from before that, and tell how many messages are pending on it."""
        pending = 0
        for event in page.events:
            if self.created_after and event.created_at is not None and event.created_at < self.created_after:
                earlier.add(event.whatsapp_message_id, event.status)
                continue
            counter.add(event.whatsapp_message_id, event.status)
            pending += event.status not in settled
            observe(
                SeenStatus(
                    event.whatsapp_message_id,
                    event.status,
                    event.conversation_id,
                    event.user_id,
                    None,
                    event.template_name,
                    event.updated_at,
                )
            )
        return pending


class _SinglePoll:
    """
    One look at single messages: which are asked for, in what order, and what is made of the answers.

    :param ids: The messages.
    :param last_statuses: What is known of them; what is heard is noted in it.
    :param criteria: Which of them are pending.
    :param options: How the look is made.
    """

    def __init__(
        self, ids: Sequence[str], last_statuses: LastStatuses, criteria: Criteria, options: PollOptions
    ) -> None:
        self.counter = StatusCounter()
        self._ids = ids
        self._last_statuses = last_statuses
        self._criteria = criteria
        self._care = options
        self._patience = options.first
        self._asked = bytearray(len(ids))
        self._pending = 0

    @property
    def unasked(self) -> int:
        """How many are pending and were not asked for."""
        return sum(self._is_pending(index) for index, asked in enumerate(self._asked) if not asked)

    def round_robin(self, most: int | None) -> Iterator[Flow[_Seen]]:
        """Ask for those that were pending, until so many of them still are."""
        for index in self._last_statuses.round_robin():
            if most is not None and self._pending >= most:
                return
            if self._is_pending(index):
                yield self._see(index)

    def take_round_robin(self, seen: _Seen) -> None:
        """Take in the answer for one that was asked for in turn."""
        self.take(seen)
        self._asked[seen.position], self._last_statuses.next = True, (seen.position + 1) % len(self._ids)
        self._pending += self._is_pending(seen.position)

    def rest(self) -> Iterator[Flow[_Seen]]:
        """See all that were not asked for; only of some there is more to ask."""
        for index, asked in enumerate(self._asked):
            if not asked:
                ask = self._is_pending(index) or self._care.needs_details(self._last_statuses.status(index))
                yield self._see(index, ask=ask)

    def take(self, seen: _Seen) -> None:
        """Take in how a message was seen."""
        self.counter.add(seen.sighting.whatsapp_message_id, seen.sighting.status)
        self._care.observe(seen.sighting)

    def _is_pending(self, index: int) -> bool:
        return self._criteria.is_pending(self._last_statuses.status(index))

    def _see(self, index: int, *, ask: bool = True) -> Flow[_Seen]:
        whatsapp_message_id = self._ids[index]
        if not ask:
            return _Seen(index, SeenStatus(whatsapp_message_id, self._last_statuses.status(index)))
        limits, self._patience = self._patience, self._care.others
        try:
            found = yield from calls.whatsapp_status(whatsapp_message_id, limits)
        except NotFoundError:
            if not self._care.not_yet:
                raise
            return _Seen(index, SeenStatus(whatsapp_message_id, self._last_statuses.update(index, "sent")))
        return _Seen(
            index,
            SeenStatus(
                whatsapp_message_id,
                self._last_statuses.update(index, found.status),
                found.conversation_id,
                None,
                str(found.error) if found.error else None,
                found.template_name,
                found.updated_at,
            ),
        )


def _where(position: ListPosition, page: int, allowed: float) -> str:
    left = position.before(page)
    if page == 1 or left is None or left > allowed:
        return f"waiting on page {page} of {position.pages}"
    pages = "page 1" if page == 2 else f"pages 1-{page - 1}"  # noqa: PLR2004 - one or several
    save = f" save {left}" if left else ""
    return f"{pages} of {position.pages} settled{save}; waiting on page {page}"
