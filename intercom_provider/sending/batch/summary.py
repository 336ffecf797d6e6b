"""Judge a batch when its run is over, and explain a failure: in the log line by line, in the error in one line."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.compat import AirflowException
from intercom_provider.exceptions import DeliveryFailedError
from intercom_provider.fields import Limit, allowance
from intercom_provider.sending.batch.counts import COUNT_NAMES, MAX_REASONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.results.writer import ResultsWriter
    from intercom_provider.sending.batch.counts import Counts

log = logging.getLogger(__name__)

_RECOVERY_HINT: Final = (
    'Of the unconfirmed: when you know whether they arrived, clear the task with on_unconfirmed="resend" to have them '
    'sent, or with "assume_sent" to go on without sending'
)


class BatchSummary:
    """
    The end of a batch: its XCom, its failure if it has failed, and its last lines in the log.

    :param counts: The batch's counts.
    :param results: The writer of its results.
    :param max_failed: How many messages may fail.
    :param on_unconfirmed: With ``assume_sent``, unconfirmed messages do not count as failed.
    :param numbered_by: What the positions in ``counts.first_numbers`` are: ``index`` or ``line``.
    """

    def __init__(
        self, counts: Counts, results: ResultsWriter, *, max_failed: Limit, on_unconfirmed: str, numbered_by: str
    ) -> None:
        self._counts = counts
        self._results = results
        self._max_failed = max_failed
        self._on_unconfirmed = on_unconfirmed
        self._numbered_by = numbered_by

    def values(self) -> dict[str, Any]:
        """
        Return the batch's XCom.

        :return: The values, key by key.
        """
        return {**self._counts.values(), **self._results.values()}

    @property
    def counts(self) -> dict[str, int]:
        """The counts by name, with the total."""
        return {name: getattr(self._counts, name) for name in ("total", *COUNT_NAMES)}

    def raise_failure(self, fatal: Exception | None) -> None:
        """
        Raise the error of a batch that has failed.

        :param fatal: The error that stopped it before its end; None when it came to its end.
        :raises IntercomError: ``fatal``.
        :raises DeliveryFailedError: When more than ``max_failed`` messages failed, and a retry would send none of them.
        :raises AirflowException: When a retry may send some of them, or the results could not be written.
        """
        if fatal is not None:
            raise fatal
        counts = self._counts
        if counts.failed(self._on_unconfirmed) > allowance(self._max_failed, counts.total):
            kind = AirflowException if counts.transient else DeliveryFailedError
            raise kind(self._failure_text())
        if self._results.failed:
            raise AirflowException(
                f"results_path: the results could not be written to {self._results.folder}, see the log. The messages "
                "are sent; a retry sends none of them again and writes the results anew"
            )

    def log_failure(self, error: BaseException) -> None:
        """
        Log the cause, how many messages have which reason and where, and what to do.

        :param error: The error that the task is about to raise.
        """
        counts = self._counts
        # The error about too many failures lists the reasons, each of which has a line of its own here.
        text = str(error) or type(error).__name__
        log.error("The batch failed: %s", self._headline() if text == self._failure_text() else text)
        log.error("  %s of %d; max_failed allows %s", counts.in_words(), counts.total, self._max_failed)
        for reason, count in counts.reasons.most_common(MAX_REASONS):
            numbers = ", ".join(map(str, counts.first_numbers[reason]))
            where = f" ({self._numbered_by} {numbers}{', ...' if count > len(counts.first_numbers[reason]) else ''})"
            log.error("  %d x %s%s", count, reason, where if numbers else "")
        for hint in self._hints():
            log.error("  %s", hint)

    def _headline(self) -> str:
        return f"{self._counts.failed(self._on_unconfirmed)} of {self._counts.total} messages failed"

    def _failure_text(self) -> str:
        # The reasons come first, because Airflow's UI shows no more than the first hundred characters.
        counts = self._counts
        reasons = "; ".join(f"{count} x {reason}" for reason, count in counts.failure_reasons[:MAX_REASONS])
        numbers = f"{counts.in_words()}; max_failed allows {self._max_failed}"
        return " ".join([f"{self._headline()}: {reasons} ({numbers}).", *(f"{hint}." for hint in self._hints())])

    def _hints(self) -> Iterator[str]:
        counts = self._counts
        if (folder := self.values()["results_path"]) is not None:
            yield f"Message by message: {folder}"
        if counts.unconfirmed and self._on_unconfirmed == "fail":
            yield _RECOVERY_HINT
        if counts.transient:
            yield f"{counts.transient} may well go out with a retry, which sends nothing twice"
