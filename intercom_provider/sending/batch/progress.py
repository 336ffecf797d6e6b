"""Log the progress of a batch: how many messages are done, how fast, and how long the rest will take."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from intercom_provider.sending.batch.counts import Counts

log = logging.getLogger(__name__)

_INTERVAL_SECONDS: Final = 5.0


class ProgressLog:
    """
    Writes a line into the task's log every five seconds.

    :param counts: The batch's counts.
    """

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._began = self._logged_at = time.monotonic()
        self._logged_done = 0

    @property
    def is_due(self) -> bool:
        """Whether the next line is due."""
        return time.monotonic() - self._logged_at >= _INTERVAL_SECONDS

    def write(self, *, delayed: int, is_over: bool = False) -> None:
        """
        Log a line.

        :param delayed: How many messages wait for another attempt.
        :param is_over: Whether this is the last line, after which there is no time left to estimate.
        """
        now, done, total = time.monotonic(), self._counts.done, self._counts.total
        rate = (done - self._logged_done) / max(now - self._logged_at, 0.001)
        overall = done / max(now - self._began, 0.001)
        self._logged_at, self._logged_done = now, done
        retries = f", {delayed} to be tried again" if delayed else ""
        left = f", about {(total - done) / overall:.0f} s left" if done < total and overall and not is_over else ""
        log.info("%d of %d: %s%s; %.0f a second%s", done, total, self._counts.in_words(), retries, rate, left)
