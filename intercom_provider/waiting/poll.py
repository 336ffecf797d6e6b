"""Make one poll: of everything, or of as much as shows that the wait goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from intercom_provider.api.flow import RetryLimits
    from intercom_provider.waiting.criteria import Criteria, Growth
    from intercom_provider.waiting.statuses import StatusCounter, Summary


class SeenStatus(NamedTuple):
    """The status of a message as one poll saw it."""

    whatsapp_message_id: str
    status: str
    conversation_id: str | None = None
    user_id: str | None = None
    reason: str | None = None
    template_name: str | None = None
    updated_at: int | None = None


class Observer(Protocol):
    """Records the statuses that a full poll sees."""

    def wants(self, status: str) -> bool:
        """
        Check whether messages with a status are recorded; the poll may leave the others out.

        :param status: The status as Intercom spells it.
        :return: Whether they are.
        """

    def needs_details(self, status: str) -> bool:
        """
        Check whether settled single messages with a status are asked for again, because more than it is wanted.

        :param status: The status as Intercom spells it.
        :return: Whether they are.
        """

    def add(self, seen: SeenStatus) -> None:
        """
        Record a status.

        :param seen: The status.
        """


@dataclass(frozen=True, slots=True)
class FullPoll:
    """
    Result of a poll of all messages.

    :param summary: The counts.
    :param counter: The statuses that the counts are made of.
    :param mismatch: How many messages the poll saw and how many Intercom announced, when these differ: the list may
        have changed while it was read. None when they agree.
    """

    summary: Summary
    counter: StatusCounter
    mismatch: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialPoll:
    """
    Result of a poll of some messages: proof that the wait goes on, or a reason for a full poll.

    :param may_be_settled: Whether a full poll is needed, because the messages may be settled.
    :param total: How many messages there seem to be.
    :param counter: The statuses that were seen.
    :param summary: The counts of all messages; None when most of them would be as old as the last full poll.
    :param unasked: How many single messages are pending and were not asked for by this poll.
    :param where: The pages that are waited for, for the log; "" when the wait is not for a page.
    :param page: The number of the page that is waited for; None when the wait is not for a page.
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
    Options of one poll.

    :param now: When it begins, in epoch seconds.
    :param criteria: When the wait is settled.
    :param growth: Since when the number of messages has not grown.
    :param first: The retry limits of its first request: when that fails, the next poll is soon enough.
    :param others: The retry limits of the other requests: when one fails, the earlier ones were in vain.
    :param unknown_is_pending: Whether a message that Intercom does not know counts as pending; else it has failed.
    :param observer: Records what a full poll sees; None when nobody does.
    :param full: Whether all messages are polled, even if some show that the wait goes on.
    :param may_stop_early: Whether the poll may end where a full poll is needed, and leave that to another process.
    """

    now: float
    criteria: Criteria
    growth: Growth
    first: RetryLimits
    others: RetryLimits
    unknown_is_pending: bool
    observer: Observer | None
    full: bool
    may_stop_early: bool
