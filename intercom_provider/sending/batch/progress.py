"""Log and publish the progress of a batch: how many messages are done, how fast, how long the rest will take."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Final

from intercom_provider.sending.batch.counts import COUNT_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from intercom_provider.sending.batch.counts import Counts

log = logging.getLogger(__name__)

_INTERVAL_SECONDS: Final = 5.0
_PUBLISH_INTERVAL_SECONDS: Final = 10.0
# The main thread writes the ledger and makes the stop. Where publishing holds it up for longer, it is done without.
_MAX_PUBLISH_SECONDS: Final = 1.0


class ProgressLog:
    """
    Writes a line into the task's log every five seconds, and publishes the counts at every second one.

    :param counts: The batch's counts.
    :param publish: Takes the counts by name, for people to see while the batch runs. It is not called again once it has
        failed or was slow.
    :param publish_interval: Seconds between two of its calls.
    """

    def __init__(
        self,
        counts: Counts,
        publish: Callable[[Mapping[str, float]], None],
        publish_interval: float = _PUBLISH_INTERVAL_SECONDS,
    ) -> None:
        self._counts = counts
        self._publish_interval = publish_interval
        self._publish: Callable[[Mapping[str, float]], None] | None = publish
        self._published_at = -math.inf
        self._began = self._logged_at = time.monotonic()
        # A try that goes on after it waited for a window has done some of them before.
        self._begun_done = self._logged_done = counts.done

    @property
    def is_due(self) -> bool:
        """Whether the next line is due."""
        return time.monotonic() - self._logged_at >= _INTERVAL_SECONDS

    def write(self, *, delayed: int, waiting: int = 0, is_over: bool = False) -> None:
        """
        Log a line.

        :param delayed: How many messages wait for another attempt.
        :param waiting: How many wait for their window (default 0).
        :param is_over: Whether this is the last line, after which there is no time left to estimate.
        """
        now, done, total = time.monotonic(), self._counts.done, self._counts.total
        rate = (done - self._logged_done) / max(now - self._logged_at, 0.001)
        overall = (done - self._begun_done) / max(now - self._began, 0.001)
        self._logged_at, self._logged_done = now, done
        retries = f", {delayed} to be tried again" if delayed else ""
        rest = total - done - waiting
        left = f", about {rest / overall:.0f} s left" if rest > 0 and overall and not is_over else ""
        log.info("%d of %d: %s%s; %.0f a second%s", done, total, self._counts.in_words(), retries, rate, left)
        # At the end the counts are the task's result.
        if self._publish is not None and not is_over and now - self._published_at >= self._publish_interval:
            self._published_at = now
            self._publish_counts(self._publish)

    def _publish_counts(self, publish: Callable[[Mapping[str, float]], None]) -> None:
        began = time.monotonic()
        counts = {"total": self._counts.total, **{name: getattr(self._counts, name) for name in COUNT_NAMES}}
        try:
            publish({**counts, "as_of": time.time()})
        except Exception as error:  # noqa: BLE001 - a batch must not end because its progress cannot be shown
            log.warning("The progress cannot be shown while the batch runs: %s", type(error).__name__)
            self._publish = None
        else:
            if time.monotonic() - began > _MAX_PUBLISH_SECONDS:
                log.warning("The progress is not shown any more while the batch runs: it took too long")
                self._publish = None
