"""
What all waits have in common: a deadline, and polls that may fail.

A sensor runs a wait on a worker and a trigger runs it in the triggerer, so that both decide alike.
"""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar

from intercom_provider.api.errors import RateLimitedError
from intercom_provider.api.flow import RetryLimits

if TYPE_CHECKING:
    from intercom_provider.api.errors import IntercomError
    from intercom_provider.api.parallel import ParallelFlow

log = logging.getLogger(__name__)

FoundT = TypeVar("FoundT")

MAX_FAILED_POLLS: Final = 10
"""How many polls in a row may fail for reasons that may pass."""

# Airflow's own clock for the time-out starts a moment after ours. Ours has to end first, or there would be no report.
_AHEAD_OF_AIRFLOW_SECONDS: Final = 0.05
# The last poll begins at the deadline. It gets enough time for a long list, but not for a list without an end.
_LAST_POLL_SECONDS: Final = 300.0
_LAST_POLL_TIMEOUT_SECONDS: Final = 10.0
# Intercom may ask for a longer pause, by mistake. A wait pauses no longer than this.
_MAX_PAUSE_SECONDS: Final = 3_600.0

# A poll ends after this time, and the next one begins anew.
_MAX_POLL_SECONDS: Final = 3_600.0
# A clock that is only slewed drifts by less than this between two polls.
_MIN_SET_BACK_SECONDS: Final = 1.0
_TIMES: Final = ("started", "deadline", "not_before")

Verdict: TypeAlias = Literal["wait", "settled", "deadline"]


@dataclass(slots=True, kw_only=True)
class Wait(ABC, Generic[FoundT]):
    """
    A wait with a deadline; as a string, what it is for. ``FoundT`` is the result of a poll.

    :param started: When it began, in epoch seconds.
    :param deadline: When it ends in any case, in epoch seconds.
    :param failed_polls: How many polls in a row have failed.
    :param not_before: Epoch seconds before which Intercom does not want the next poll.
    """

    started: float
    deadline: float
    failed_polls: int = 0
    not_before: float = 0.0
    _clock_offset: float = field(
        default_factory=lambda: time.time() - time.monotonic(), init=False, repr=False, compare=False
    )

    def follow_clock(self) -> None:
        """Move the times of the wait along with this machine's clock, if that was set back since the last call."""
        offset = time.time() - time.monotonic()
        set_back = self._clock_offset - offset
        self._clock_offset = offset
        if set_back < _MIN_SET_BACK_SECONDS:
            return
        log.warning("%s: the clock was set back by %.0f s, and the times of the wait move with it", self, set_back)
        for name in _TIMES:
            setattr(self, name, getattr(self, name) - set_back)
        self._move_own_times(-set_back)

    def _move_own_times(self, seconds: float) -> None:
        """Move the times that other waits do not have."""

    def deadline_passed(self, now: float) -> bool:
        """Check whether the deadline is here."""
        return now + _AHEAD_OF_AIRFLOW_SECONDS >= self.deadline

    def limits(self, now: float) -> tuple[RetryLimits, RetryLimits]:
        """
        Return the retry limits of a poll; the deadline does not cut short the last poll, which begins at it.

        :param now: Epoch seconds.
        :return: The limits of its first request, which is not repeated because the next poll is soon enough, and those
            of the others, which are repeated because the earlier ones would be in vain.
        """
        if self.deadline_passed(now):
            first = RetryLimits(attempts=1, deadline=now + _LAST_POLL_SECONDS, timeout=_LAST_POLL_TIMEOUT_SECONDS)
            return first, first._replace(attempts=2)
        end = min(self.deadline, now + _MAX_POLL_SECONDS)
        return RetryLimits(attempts=1, deadline=end), RetryLimits(attempts=4, deadline=end)

    def poll_failed(self, error: IntercomError, now: float, max_failed_polls: int | None = MAX_FAILED_POLLS) -> Verdict:
        """
        Record a failed poll.

        :param error: Why it failed.
        :param now: Epoch seconds.
        :param max_failed_polls: How many polls in a row may fail (default 10); None for any number.
        :return: ``wait`` or ``deadline``.
        :raises IntercomError: The error, when it is permanent or one too many.
        """
        if not error.transient:
            raise error
        self.failed_polls += 1
        if isinstance(error, RateLimitedError) and error.retry_at is not None:
            self.not_before = min(error.retry_at, now + _MAX_PAUSE_SECONDS)
        log.warning("%s: the poll failed (%d in a row): %s", self, self.failed_polls, error)
        if self.deadline_passed(now):
            return "deadline"
        if max_failed_polls is not None and self.failed_polls > max_failed_polls:
            raise error
        return "wait"

    def state(self) -> dict[str, object]:
        """
        Return what has to be remembered from one process to the next.

        :return: JSON, for :meth:`resume`.
        """
        times = {name: getattr(self, name) for name in _TIMES}
        return {**times, "failed_polls": self.failed_polls, **self._own_state()}

    def resume(self, state: object) -> None:
        """
        Go on with what another process knew of this wait.

        :param state: The result of :meth:`state`.
        :raises ValueError: When the state is something else, such as that of another version.
        """
        try:
            if not isinstance(state, dict):
                raise TypeError("not an object")  # noqa: TRY301 - is turned into the error below
            for name in _TIMES:
                if not math.isfinite(value := float(state[name])):
                    raise ValueError(name)  # noqa: TRY301 - as above
                setattr(self, name, value)
            self.failed_polls = int(state["failed_polls"])
            self._resume_own(state)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"the state of the wait is that of another version ({error!r})") from None

    @abstractmethod
    def _own_state(self) -> dict[str, object]:
        """Return the part of the state that other waits do not have."""

    @abstractmethod
    def _resume_own(self, state: dict[str, Any]) -> None:
        """Read that part; raise any error when it is something else."""

    @property
    @abstractmethod
    def poll_key(self) -> str:
        """The name of what is polled; waits with the same key poll at the same moments."""

    @property
    def shared_key(self) -> str | None:
        """The key of the requests that other waits may make as well; None when no other wait asks for the same."""
        return None

    @property
    def reads_files(self) -> bool:
        """Whether a poll reads files, and so may block its thread."""
        return False

    @abstractmethod
    def partial_poll(self, now: float) -> ParallelFlow[FoundT]:
        """
        Ask Intercom once for as much as shows whether the wait goes on.

        :param now: Epoch seconds.
        :return: The result, for :meth:`update`.
        :raises IntercomError: When Intercom could not be asked, for :meth:`poll_failed`.
        """

    @abstractmethod
    def update(self, found: FoundT, now: float) -> Verdict:
        """
        Record the result of a poll.

        :param found: The result.
        :param now: Epoch seconds when the poll ended.
        :return: Whether to wait on, or why not.
        """

    @abstractmethod
    def progress(self, found: FoundT, now: float) -> str:
        """
        Return the progress as a line for the log.

        :param found: The result of the last poll, after :meth:`update`.
        :param now: Epoch seconds.
        :return: One line.
        """

    @abstractmethod
    def progress_values(self, found: FoundT) -> dict[str, object]:
        """
        Return the progress for the XCom of a task that waits.

        :param found: The result of the last poll, after :meth:`update`.
        :return: JSON.
        """
