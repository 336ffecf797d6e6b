"""
One wait for delivery: when it looks, how patiently, and what a look means for it.

The sensor runs it on a worker and the trigger in the triggerer, so that both decide the same.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from intercom_provider.api.errors import IntercomError, RateLimitedError
from intercom_provider.api.flow import Flow, Patience
from intercom_provider.delivery import Criteria, Growth, Summary

if TYPE_CHECKING:
    from intercom_provider.looks import Look, Observe, Watch

log = logging.getLogger(__name__)

NOT_YET_FOR: Final = 600.0
"""Seconds for which a WhatsApp id that Intercom does not know counts as "not yet"."""

FAILED_LOOKS_ALLOWED: Final = 10
"""How many looks in a row may fail for reasons that pass."""

# Airflow's own clock for the time-out starts a moment after ours and must not strike first.
_STRIKES_BEFORE_AIRFLOW: Final = 0.05
# The last look starts when time is up: long enough for a long list, and not for one without an end.
_LAST_LOOK_LASTS: Final = 300.0
_LAST_LOOK_TIMEOUT: Final = 10.0
# However long Intercom asks to wait, its word is not taken for more than this.
_LONGEST_PAUSE: Final = 3_600.0

Verdict: TypeAlias = Literal["wait", "settled", "deadline"]


@dataclass(slots=True, kw_only=True)
class Wait:
    """
    A wait as it goes on: what is looked at, until when, and what is known so far.

    :param watch: What is looked at.
    :param criteria: When it is over.
    :param started: Epoch seconds at which it began.
    :param deadline: Epoch seconds at which it ends, one way or the other.
    :param growth: Since when the number of messages has not grown.
    :param failed_looks: How many looks in a row have failed.
    :param last: The last summary; None when there is none yet.
    :param doubt: What the last look could not believe; None when there was nothing.
    :param not_before: Epoch seconds before which Intercom does not want to be asked again.
    :param told: Statuses nobody knew, already told.
    """

    watch: Watch
    criteria: Criteria
    started: float
    deadline: float
    growth: Growth = field(default_factory=Growth)
    failed_looks: int = 0
    last: Summary | None = None
    doubt: tuple[int, int] | None = None
    not_before: float = 0.0
    told: set[str] = field(default_factory=set)

    def is_due(self, now: float) -> bool:
        """Tell whether the deadline is here."""
        return now + _STRIKES_BEFORE_AIRFLOW >= self.deadline

    def look(self, now: float, observe: Observe = lambda _: None) -> Flow[Look]:
        """
        Look once; at the deadline it is the last look, which the deadline no longer cuts short.

        :param now: Epoch seconds.
        :param observe: Is shown every sighting.
        :return: What was found, for :meth:`took`.
        :raises IntercomError: When something could not be read, for :meth:`stumbled`.
        """
        if self.is_due(now):
            first = Patience(attempts=1, deadline=now + _LAST_LOOK_LASTS, timeout=_LAST_LOOK_TIMEOUT)
            others = replace(first, attempts=2)
        else:
            first, others = Patience(attempts=1, deadline=self.deadline), Patience(attempts=4, deadline=self.deadline)
        return self.watch.look(first=first, others=others, not_yet=now < self.started + NOT_YET_FOR, observe=observe)

    def took(self, look: Look, now: float) -> Verdict:
        """
        Take in a look.

        :param look: What was found.
        :param now: Epoch seconds when it was complete.
        :return: Whether to wait on, or why not.
        """
        self.failed_looks = 0
        self.last = look.summary
        doubt = look.doubt
        if doubt is None and look.summary.total < self.growth.total:
            doubt = (look.summary.total, self.growth.total)
        # What two looks in a row see alike is how it is; what one sees may be a list that moved while it was read.
        believed = doubt is None or doubt == self.doubt
        self.doubt = doubt
        self.growth = self.growth.after(look.summary.total, now)
        for status in sorted(look.tally.unknown - self.told):
            log.warning("%s: status %r is unknown and counts as sent", self.watch, status)
        self.told |= look.tally.unknown
        if believed and self.criteria.is_settled(look.summary, self.growth, now):
            return "settled"
        return "deadline" if self.is_due(now) else "wait"

    def stumbled(self, error: IntercomError, now: float, allowed: int | None = FAILED_LOOKS_ALLOWED) -> Verdict:
        """
        Take in that a look failed.

        :param error: Why.
        :param now: Epoch seconds.
        :param allowed: How many may fail in a row; None for any number.
        :return: Whether to wait on, or that the deadline is here.
        :raises IntercomError: The error, when it is permanent or one too many.
        """
        if not error.transient:
            raise error
        self.failed_looks += 1
        if isinstance(error, RateLimitedError) and error.retry_at is not None:
            self.not_before = min(error.retry_at, now + _LONGEST_PAUSE)
        log.warning("%s: could not look (%d in a row): %s", self.watch, self.failed_looks, error)
        if self.is_due(now):
            return "deadline"
        if allowed is not None and self.failed_looks > allowed:
            raise error
        return "wait"

    def progress(self, look: Look, now: float) -> str:
        """
        Say for the log how far it is.

        :param look: What was found last.
        :param now: Epoch seconds.
        :return: One line.
        """
        line = f"{self.watch}: {self.criteria.progress(look.summary)}"
        if self.doubt is not None:
            return f"{line}; {self.doubt[0]} of {self.doubt[1]} in the list, which may have changed while it was read"
        if self.criteria.expected_count is None and self.criteria.settle_for and look.summary.total:
            quiet = now - self.growth.since
            return f"{line}; no growth for {quiet:.0f} of {self.criteria.settle_for:.3g} s"
        return line

    def state(self) -> dict[str, Any]:
        """
        Give what has to be remembered from one process to the next.

        :return: JSON, for :meth:`resume`.
        """
        return {
            "started": self.started,
            "deadline": self.deadline,
            "growth": [self.growth.total, self.growth.since],
            "failed_looks": self.failed_looks,
            "last": asdict(self.last) if self.last else None,
            "doubt": list(self.doubt) if self.doubt else None,
            "not_before": self.not_before,
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
            total, since = state["growth"]
            last = state["last"]
            self.started, self.deadline = float(state["started"]), float(state["deadline"])
            self.growth = Growth(int(total), float(since))
            self.failed_looks = int(state["failed_looks"])
            doubt = state.get("doubt")
            self.doubt = (int(doubt[0]), int(doubt[1])) if doubt else None
            self.not_before = float(state.get("not_before", 0.0))
            self.last = Summary(**{name: int(count) for name, count in last.items()}) if last else None
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"the state of the wait is of another version ({error!r})") from None
