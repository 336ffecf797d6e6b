"""A wait until messages were delivered: what a poll of their statuses means for it."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.waiting.criteria import Criteria, Growth
from intercom_provider.waiting.poll import FullPoll, PartialPoll, PollOptions
from intercom_provider.waiting.statuses import Summary
from intercom_provider.waiting.wait import Verdict, Wait

if TYPE_CHECKING:
    from intercom_provider.api.parallel import ParallelFlow
    from intercom_provider.waiting.poll import Observer
    from intercom_provider.waiting.target import Target

log = logging.getLogger(__name__)

UNKNOWN_ID_SECONDS: Final = 600.0
"""Seconds for which a WhatsApp id that Intercom does not know counts as pending."""


@dataclass(slots=True, kw_only=True)
class DeliveryWait(Wait[FullPoll | PartialPoll]):
    """
    A wait until messages were delivered.

    :param target: The messages.
    :param criteria: When it is settled.
    :param growth: Since when the number of messages has not grown.
    :param summary: The last counts of all messages; None before the first.
    :param summary_at: When these were counted, in epoch seconds.
    :param mismatch: How many messages the last full poll saw and how many it should have seen; None when these agree.
    :param is_consistent: Whether the last full poll can be trusted.
    :param warned_statuses: Unknown statuses that the log has named already.
    :param warned_unreadable: Whether the log has named entries that cannot be read already.
    """

    target: Target
    criteria: Criteria
    growth: Growth = field(default_factory=Growth)
    summary: Summary | None = None
    summary_at: float = 0.0
    mismatch: tuple[int, int] | None = None
    is_consistent: bool = True
    warned_statuses: set[str] = field(default_factory=set)
    warned_unreadable: bool = False

    def __str__(self) -> str:
        return str(self.target)

    @property
    def poll_key(self) -> str:
        """The name of what is polled; waits with the same key poll at the same moments."""
        return self.target.ruleset_id or self.target.digest

    @property
    def shared_key(self) -> str | None:
        """The ruleset, which other waits may poll as well; None for single messages."""
        return self.target.ruleset_id

    @property
    def reads_files(self) -> bool:
        """Whether a poll reads files, and so may block its thread."""
        return self.target.reads_files

    def partial_poll(self, now: float) -> ParallelFlow[FullPoll | PartialPoll]:
        """
        Ask Intercom once for as many statuses as show whether the wait goes on.

        :param now: Epoch seconds.
        :return: The result, for :meth:`update`.
        :raises IntercomError: When a status could not be read, for :meth:`poll_failed`.
        """
        return self.poll(now, may_stop_early=True)

    def poll(
        self,
        now: float,
        observer: Observer | None = None,
        *,
        full: bool = False,
        may_stop_early: bool = False,
    ) -> ParallelFlow[FullPoll | PartialPoll]:
        """
        Ask Intercom once for the statuses; at the deadline for all of them.

        :param now: Epoch seconds.
        :param observer: Records the statuses that a full poll sees; None (default) when nobody does.
        :param full: Whether to poll all messages in any case (default False).
        :param may_stop_early: Whether the poll may end where a full poll is needed (default False).
        :return: The result, for :meth:`update`.
        :raises IntercomError: When a status could not be read, for :meth:`poll_failed`.
        """
        first, others = self.limits(now)
        return self.target.poll(
            PollOptions(
                now=now,
                criteria=self.criteria,
                growth=self.growth,
                first=first,
                others=others,
                unknown_is_pending=now < self.started + UNKNOWN_ID_SECONDS,
                observer=observer,
                full=full or self.deadline_passed(now),
                may_stop_early=may_stop_early,
            )
        )

    def update(self, found: FullPoll | PartialPoll, now: float) -> Verdict:
        """
        Record the result of a poll.

        :param found: The result.
        :param now: Epoch seconds when the poll ended.
        :return: Whether to wait on, or why not; after a partial poll ``settled`` means that a full poll is needed.
        """
        self.failed_polls = 0
        for status in sorted(found.counter.unknown - self.warned_statuses):
            log.warning("%s: status %r is unknown and counts as sent", self.target, status)
        self.warned_statuses |= found.counter.unknown
        if found.counter.unreadable and not self.warned_unreadable:
            log.warning(
                "%s: %d entries of the list cannot be read, because they have no id; they do not count",
                self.target,
                found.counter.unreadable,
            )
            self.warned_unreadable = True
        if isinstance(found, PartialPoll):
            self.growth = self.growth.after(found.total, now)
            if found.summary is not None:
                self.summary, self.summary_at = found.summary, now
            settled = found.may_be_settled
        else:
            self.summary, self.summary_at = found.summary, now
            mismatch = found.mismatch
            if not _lacks_messages(mismatch) and found.summary.total < self.growth.total:
                mismatch = (found.summary.total, self.growth.total)
            # Trust a total that two full polls agree on. One alone may be off, because the list can shift while it is
            # being paged.
            self.is_consistent = not _lacks_messages(mismatch) or mismatch == self.mismatch
            self.mismatch = mismatch
            self.growth = self.growth.after(found.summary.total, now)
            settled = self.is_consistent and self.criteria.is_settled(found.summary, self.growth, now)
        if settled:
            return "settled"
        return "deadline" if self.deadline_passed(now) else "wait"

    def progress(self, found: FullPoll | PartialPoll, now: float) -> str:
        """
        Return the progress as a line for the log.

        :param found: The result of the last poll, after :meth:`update`.
        :param now: Epoch seconds.
        :return: One line, which says how old the counts are when they are from an earlier poll.
        """
        summary = self.summary or Summary()
        counts = self.criteria.progress(summary)
        if isinstance(found, PartialPoll) and found.summary is None:
            parts = [self._describe_partial(found), self._describe_growth(found.total, now)]
            parts.append(f"the last full poll, {now - self.summary_at:.0f} s ago, saw {counts}")
        elif isinstance(found, PartialPoll):
            parts = [counts, f"{found.unasked} of them not asked for this time" if found.unasked else ""]
        elif self.mismatch and _lacks_messages(self.mismatch):
            seen, announced = self.mismatch
            parts = [counts, f"{seen} of {announced} in the list, which may have changed while it was read"]
        else:
            parts = [counts, self._describe_growth(summary.total, now)]
            if self.mismatch:
                parts.append(f"{self.mismatch[0]} in the list, though Intercom announces {self.mismatch[1]}")
        if found.counter.unreadable:
            parts.append(f"{found.counter.unreadable} entries of the list cannot be read")
        return f"{self.target}: {'; '.join(filter(None, parts))}"

    def progress_values(self, found: FullPoll | PartialPoll) -> dict[str, object]:
        """
        Return the progress for the XCom of a task that waits.

        :param found: The result of the last poll, after :meth:`update`.
        :return: The counts, when they were counted (``as_of``, epoch seconds), and the page that is waited for.
        """
        page = found.page if isinstance(found, PartialPoll) else None
        counts = self.criteria.counts(self.summary or Summary())
        return {**counts, "as_of": self.summary_at, "waiting_on_page": page}

    def _describe_partial(self, partial: PartialPoll) -> str:
        if partial.where or partial.may_be_settled:
            return partial.where or "all seems to be settled"
        return f"{partial.total} of {self.criteria.expected_count or partial.total} messages are there"

    def _describe_growth(self, total: int, now: float) -> str:
        if self.criteria.expected_count is not None or not self.criteria.settle_for or not total:
            return ""
        return f"no growth for {now - self.growth.since:.0f} of {self.criteria.settle_for:.9g} s"

    def _move_own_times(self, seconds: float) -> None:
        self.growth = replace(self.growth, since=self.growth.since + seconds)
        self.summary_at += seconds

    def _own_state(self) -> dict[str, object]:
        return {
            "growth": [self.growth.total, self.growth.since],
            "summary": asdict(self.summary) if self.summary else None,
            "summary_at": self.summary_at,
            "mismatch": list(self.mismatch) if self.mismatch else None,
            "target": self.target.state(),
        }

    def _resume_own(self, state: dict[str, Any]) -> None:
        total, since = state["growth"]
        summary, mismatch = state["summary"], state["mismatch"]
        self.growth = Growth(int(total), float(since))
        self.summary = Summary(**{name: int(count) for name, count in summary.items()}) if summary else None
        self.summary_at = float(state["summary_at"])
        self.mismatch = (int(mismatch[0]), int(mismatch[1])) if mismatch else None
        self.target.resume(state["target"])


def _lacks_messages(mismatch: tuple[int, int] | None) -> bool:
    return mismatch is not None and mismatch[0] < mismatch[1]
