"""
What every wait has: a deadline, and patience with looks that fail.

A sensor runs it on a worker and a trigger in the triggerer, so that both decide the same.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from intercom_provider.api.errors import RateLimitedError
from intercom_provider.api.flow import RetryLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from intercom_provider.api.errors import IntercomError

log = logging.getLogger(__name__)

MAX_FAILED_POLLS: Final = 10
"""How many looks in a row may fail for reasons that pass."""

# Airflow's own clock for the time-out starts a moment after ours and must not strike first.
_STRIKES_BEFORE_AIRFLOW: Final = 0.05
# The last look starts when time is up: long enough for a long list, and not for one without an end.
_LAST_POLL_SECONDS: Final = 300.0
_LAST_POLL_TIMEOUT_SECONDS: Final = 10.0
# However long Intercom asks to wait, its word is not taken for more than this.
_LONGEST_PAUSE: Final = 3_600.0

Verdict: TypeAlias = Literal["wait", "settled", "deadline"]


@dataclass(slots=True, kw_only=True)
class Wait:
    """
    A wait as it goes on, whatever it is for; as a string it says for what.

    :param started: Epoch seconds at which it began.
    :param deadline: Epoch seconds at which it ends, one way or the other.
    :param failed_polls: How many looks in a row have failed.
    :param not_before: Epoch seconds before which Intercom does not want to be asked again.
    """

    started: float
    deadline: float
    failed_polls: int = 0
    not_before: float = 0.0

    def deadline_passed(self, now: float) -> bool:
        """Tell whether the deadline is here."""
        return now + _STRIKES_BEFORE_AIRFLOW >= self.deadline

    def limits(self, now: float) -> tuple[RetryLimits, RetryLimits]:
        """
        Tell how patient a look is; at the deadline it is the last look, which the deadline no longer cuts short.

        :param now: Epoch seconds.
        :return: The patience for its first request, for which a poll that fails waits for the next, and that for
            the rest, as what was read should not be read again.
        """
        if self.deadline_passed(now):
            first = RetryLimits(attempts=1, deadline=now + _LAST_POLL_SECONDS, timeout=_LAST_POLL_TIMEOUT_SECONDS)
            return first, first._replace(attempts=2)
        return RetryLimits(attempts=1, deadline=self.deadline), RetryLimits(attempts=4, deadline=self.deadline)

    def poll_failed(self, error: IntercomError, now: float, allowed: int | None = MAX_FAILED_POLLS) -> Verdict:
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
        self.failed_polls += 1
        if isinstance(error, RateLimitedError) and error.retry_at is not None:
            self.not_before = min(error.retry_at, now + _LONGEST_PAUSE)
        log.warning("%s: could not look (%d in a row): %s", self, self.failed_polls, error)
        if self.deadline_passed(now):
            return "deadline"
        if allowed is not None and self.failed_polls > allowed:
            raise error
        return "wait"

    def state(self) -> dict[str, Any]:
        """
        Give what has to be remembered from one process to the next.

        :return: JSON, for :meth:`resume`.
        """
        raise NotImplementedError

    def resume(self, state: object) -> None:
        """
        Take up what another process knew of this wait.

        :param state: What :meth:`state` gave.
        :raises ValueError: When it is anything else, such as another version's.
        """
        raise NotImplementedError

    def update(self, found: Any, now: float) -> Verdict:
        """
        Take in a look.

        :param found: What was found.
        :param now: Epoch seconds when it was complete.
        :return: Whether to wait on, or why not.
        """
        raise NotImplementedError

    def progress(self, found: Any, now: float) -> str:
        """
        Say for the log how far it is.

        :param found: What was found last, after it was taken in.
        :param now: Epoch seconds.
        :return: One line.
        """
        raise NotImplementedError

    def progress_values(self, found: Any) -> dict[str, Any]:
        """
        Give the progress for people who look at a deferred task.

        :param found: What was found last, after it was taken in.
        :return: JSON.
        """
        raise NotImplementedError

    def common_state(self) -> dict[str, Any]:
        """Give what every wait remembers."""
        return {
            "started": self.started,
            "deadline": self.deadline,
            "failed_looks": self.failed_polls,
            "not_before": self.not_before,
        }

    def resume_common(self, state: Mapping[str, Any]) -> None:
        """Take up what every wait remembers; raises whatever comes of a state that is none."""
        self.started, self.deadline = float(state["started"]), float(state["deadline"])
        self.failed_polls = int(state["failed_looks"])
        self.not_before = float(state.get("not_before", 0.0))
