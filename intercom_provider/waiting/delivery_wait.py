"""
One wait for delivery: when it looks, how patiently, and what a look means for it.

The sensor runs it on a worker and the trigger in the triggerer, so that both decide the same.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.api.errors import IntercomError
from intercom_provider.waiting.list_position import MAX_PARTIAL_POLLS, LastStatuses, ListPosition
from intercom_provider.waiting.poll import FullPoll, Observe, PartialPoll, PollOptions, Watch
from intercom_provider.waiting.statuses import Criteria, Growth, Summary
from intercom_provider.waiting.wait import Verdict, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercom_provider.api.parallel import ParallelFlow

log = logging.getLogger(__name__)

NOT_YET_SECONDS: Final = 600.0
"""Seconds for which a WhatsApp id that Intercom does not know counts as "not yet"."""

MAX_PENDING_A_POLL: Final = 2_500
"""Single messages that a poll finds pending before it asks for no more: a quarter of what Intercom takes a minute."""


@dataclass(slots=True, kw_only=True)
class DeliveryWait(Wait):
    """
    A wait as it goes on: what is looked at, until when, and what is known so far.

    :param target: What is looked at.
    :param criteria: When it is over.
    :param growth: Since when the number of messages has not grown.
    :param last: The last summary; None when there is none yet.
    :param seen: Epoch seconds from which it is.
    :param mismatch: What the last full look could not believe; None when there was nothing.
    :param is_consistent: Whether what the last full look saw is taken for how it is, in spite of a doubt.
    :param position: Where a long list has something pending; None to read it in full.
    :param last_statuses: What is known of single messages; None when that is nothing.
    :param warned_statuses: Statuses nobody knew, already told.
    :param max_pending_a_poll: After how many single messages that are still pending a poll asks for no more.
    """

    target: Watch
    criteria: Criteria
    growth: Growth = field(default_factory=Growth)
    last: Summary | None = None
    seen: float = 0.0
    mismatch: tuple[int, int] | None = None
    is_consistent: bool = True
    position: ListPosition | None = None
    last_statuses: LastStatuses | None = None
    warned_statuses: set[str] = field(default_factory=set)
    max_pending_a_poll: int = MAX_PENDING_A_POLL

    def __str__(self) -> str:
        return str(self.target)

    def poll(
        self,
        now: float,
        observe: Observe = lambda _: None,
        *,
        needs_details: Callable[[str], bool] = lambda _: False,
        full: bool = False,
        may_stop_early: bool = False,
    ) -> ParallelFlow[FullPoll | PartialPoll]:
        """
        Look once; at the deadline it is the last look, which the deadline no longer cuts short.

        What may be judged is a full look; as long as less shows that the wait goes on, it is a glance.

        :param now: Epoch seconds.
        :param observe: Is shown every sighting.
        :param needs_details: Tells of which single messages more than the status is wanted in the end.
        :param full: Whether to look at everything in any case (default False).
        :param may_stop_early: Whether to leave a full look to somebody else, where a glance suffices to see that it is
            worth while (default False).
        :return: What was found, for :meth:`update`.
        :raises IntercomError: When something could not be read, for :meth:`poll_failed`.
        """
        first, others = self.limits(now)
        not_yet = now < self.started + NOT_YET_SECONDS
        options = PollOptions(first=first, others=others, not_yet=not_yet, observe=observe, needs_details=needs_details)
        full = full or self.deadline_passed(now)
        if self.target.ruleset_id is None:
            if self.last_statuses is None:
                self.last_statuses = LastStatuses.nothing(len(self.target.whatsapp_message_ids))
            most = None if full else self.max_pending_a_poll
            return self.target.ask(
                self.last_statuses, self.criteria, self.growth, now, options, most=most, may_stop_early=may_stop_early
            )
        return self._poll_list(now, options, full=full, may_stop_early=may_stop_early)

    def _poll_list(
        self, now: float, options: PollOptions, *, full: bool, may_stop_early: bool
    ) -> ParallelFlow[FullPoll | PartialPoll]:
        position = self.position
        if position is not None and not full and position.partial_polls < MAX_PARTIAL_POLLS:
            try:
                # Only a full look is shown, or a message would be shown twice.
                unseen = replace(options, observe=lambda _: None)
                partial = yield from self.target.read_part_of_list(position, self.criteria, self.growth, now, unseen)
            except IntercomError as error:
                if error.transient:
                    raise
                # The cursor is no good any more, perhaps; whatever else it is, the full look meets it as well.
                partial = None
            if partial is not None:
                if may_stop_early or not partial.may_be_settled:
                    return partial
                options = replace(options, first=options.others)
            else:
                self.position = None
        return (yield from self.target.read_list(self.criteria, options))

    def update(self, found: FullPoll | PartialPoll, now: float) -> Verdict:
        """
        Take in a look.

        :param found: What was found.
        :param now: Epoch seconds when it was complete.
        :return: Whether to wait on, or why not; after a glance ``settled`` means that a full look is worth while.
        """
        self.failed_polls = 0
        for status in sorted(found.counter.unknown - self.warned_statuses):
            log.warning("%s: status %r is unknown and counts as sent", self.target, status)
        self.warned_statuses |= found.counter.unknown
        if isinstance(found, PartialPoll):
            self.growth = self.growth.after(found.total, now)
            if found.summary is not None:
                self.last, self.seen = found.summary, now
            settled = found.may_be_settled
        else:
            self.last, self.seen, self.position = found.summary, now, found.position
            mismatch = found.mismatch
            if mismatch is None and found.summary.total < self.growth.total:
                mismatch = (found.summary.total, self.growth.total)
            # What two looks in a row see alike is how it is; what one sees may be a list that moved while it was read.
            self.is_consistent = mismatch is None or mismatch == self.mismatch
            self.mismatch = mismatch
            self.growth = self.growth.after(found.summary.total, now)
            settled = self.is_consistent and self.criteria.is_settled(found.summary, self.growth, now)
        if settled:
            return "settled"
        return "deadline" if self.deadline_passed(now) else "wait"

    def progress(self, found: FullPoll | PartialPoll, now: float) -> str:
        """
        Say for the log how far it is.

        :param found: What was found last, after it was taken in.
        :param now: Epoch seconds.
        :return: One line, which names what it takes from an earlier look.
        """
        last = self.last or Summary()
        counts = self.criteria.progress(last)
        if isinstance(found, PartialPoll) and found.summary is None:
            parts = [self._describe_partial(found), self._quiet(found.total, now)]
            parts.append(f"the last full look, {now - self.seen:.0f} s ago, saw {counts}")
        elif isinstance(found, PartialPoll):
            parts = [counts, f"{found.unasked} of them not asked for this time" if found.unasked else ""]
        elif self.mismatch is not None:
            warned_statuses = (
                f"{self.mismatch[0]} of {self.mismatch[1]} in the list, which may have changed while it was read"
            )
            parts = [counts, warned_statuses]
        else:
            parts = [counts, self._quiet(last.total, now)]
        return f"{self.target}: {'; '.join(filter(None, parts))}"

    def progress_values(self, found: FullPoll | PartialPoll) -> dict[str, Any]:
        """
        Give the progress in numbers.

        :param found: What was found last, after it was taken in.
        :return: The counts, when they were seen (``as_of``, epoch seconds), and the page that is waited on.
        """
        page = found.page if isinstance(found, PartialPoll) else None
        return asdict(self.last or Summary()) | {"as_of": self.seen, "waiting_on_page": page}

    def _describe_partial(self, partial: PartialPoll) -> str:
        if partial.where or partial.may_be_settled:
            return partial.where or "all seems to be settled"
        return f"{partial.total} of {self.criteria.expected_count or partial.total} messages are there"

    def _quiet(self, total: int, now: float) -> str:
        if self.criteria.expected_count is not None or not self.criteria.settle_for or not total:
            return ""
        return f"no growth for {now - self.growth.since:.0f} of {self.criteria.settle_for:.9g} s"

    def state(self) -> dict[str, Any]:
        """
        Give what has to be remembered from one process to the next.

        :return: JSON, for :meth:`resume`.
        """
        return self.common_state() | {
            "growth": [self.growth.total, self.growth.since],
            "last": asdict(self.last) if self.last else None,
            "doubt": list(self.mismatch) if self.mismatch else None,
            "seen": self.seen,
            "of": self.target.digest,
            "place": self.position.state() if self.position else None,
            "known": self.last_statuses.state() if self.last_statuses else None,
        }

    def resume(self, state: object) -> None:
        """
        Take up what another process knew of this wait.

        :param state: What :meth:`state` gave.
        :raises ValueError: When it is anything else, such as another version's.
        """
        try:
            if not isinstance(state, dict):
                raise TypeError("no object")  # noqa: TRY301 - whatever it is, it is not ours
            self.resume_common(state)
            total, since = state["growth"]
            last = state["last"]
            self.growth = Growth(int(total), float(since))
            mismatch = state.get("doubt")
            self.mismatch = (int(mismatch[0]), int(mismatch[1])) if mismatch else None
            self.last = Summary(**{name: int(count) for name, count in last.items()}) if last else None
            self.seen = float(state.get("seen", self.started))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"the state of the wait is of another version ({error!r})") from None
        # Without these a look reads everything, which is never wrong.
        self.position = self.last_statuses = None
        if state.get("of") == self.target.digest:
            with suppress(ValueError):
                self.position = ListPosition.resume(state.get("place")) if self.last else None
            with suppress(ValueError):
                self.last_statuses = LastStatuses.resume(state.get("known"), len(self.target.whatsapp_message_ids))
