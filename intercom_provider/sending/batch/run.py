"""One run over a batch: what is sent, under the ledger, and what became of each message."""

from __future__ import annotations

import heapq
import logging
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.api import calls
from intercom_provider.api.client import IntercomClient
from intercom_provider.api.errors import (
    ApiError,
    ExpiredError,
    ForbiddenError,
    IntercomError,
    InvalidInputError,
    RateLimitedError,
    StoppedError,
    UnauthorizedError,
    UnconfirmedError,
    UnreachableError,
)
from intercom_provider.api.flow import RetryLimits
from intercom_provider.api.pacing import MAX_DELAY_SECONDS, Pacer
from intercom_provider.ledger.ledger import NO_IDS, Ids
from intercom_provider.sending.batch.threads import MAX_CONSECUTIVE_UNANSWERED, MessageInFlight, SenderThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from intercom_provider.api.models import Outcome, Receipt
    from intercom_provider.api.settings import Settings
    from intercom_provider.ledger.ledger import Entry, Ledger
    from intercom_provider.results.writer import ResultsWriter
    from intercom_provider.sending.batch.input import BatchInput, Item
    from intercom_provider.sending.options import SendOptions

log = logging.getLogger(__name__)

AHEAD: Final = 100
"""How many messages are intended and wait for a lane at most; these and one a lane a kill can leave unconfirmed."""

MAX_UNCOMMITTED: Final = 100
"""How many results wait to be written at most, and no longer than a second."""

MOST_IDS: Final = 1_000
MOST_REASONS: Final = 10

_COMMIT_INTERVAL_SECONDS: Final = 1.0
_PROGRESS_INTERVAL_SECONDS: Final = 5.0
# What is intended and not sent is unconfirmed after a kill: at a slow pace less of it has to wait for a lane.
_LEAST_AHEAD: Final = 20
_AHEAD_SECONDS: Final = 1.5
_ATTEMPTS: Final = 8
# Where many contacts are missing, asking for each as often as for one would cost more than sending.
_CONTACT_PAUSE: Final = 2.0
# So many requests in a row without an answer, and nothing new is begun until one has an answer again.
_SILENT: Final = 20
# Courses whose wait is over go on with the next write, and make one of their own no more often than this.
_DUE_WRITES_EVERY: Final = 0.5
# What is under way is heard out; Airflow kills a task that was told to stop after five seconds, though.
_ENDING_LASTS: Final = 60.0
_REASONS_KEPT: Final = 1_000
_LISTENS_FOR: Final = 0.25
_TOLD: Final = ("already_sent", "rejected", "unconfirmed", "expired", "duplicates", "dry_run")
_SHORTEST_PAUSE: Final = 0.05


@dataclass(slots=True)
class Counts:
    """What became of a batch's messages; the seven counts add up to ``total`` once the batch is through."""

    total: int = 0
    sent: int = 0
    already_sent: int = 0
    rejected: int = 0
    unconfirmed: int = 0
    expired: int = 0
    duplicates: int = 0
    dry_run: int = 0
    transient: int = 0
    """How many of those that failed may well be sent by a retry."""

    reasons: Counter[str] = field(default_factory=Counter)
    whatsapp_message_ids: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """For how many messages it is known what became of them."""
        return (
            self.sent
            + self.already_sent
            + self.rejected
            + self.unconfirmed
            + self.expired
            + self.duplicates
            + self.dry_run
        )

    def add(self, outcome: Outcome | str, whatsapp_message_id: str | None, reason: str | None) -> None:
        """
        Count a message.

        :param outcome: What became of it; ``duplicate`` for one that is in the input before.
        :param whatsapp_message_id: WhatsApp's id.
        :param reason: Why it is not ``sent``, in words that others share.
        """
        name = "duplicates" if outcome == "duplicate" else outcome
        setattr(self, name, getattr(self, name) + 1)
        # One more than is told, by which it shows that they are too many.
        if whatsapp_message_id is not None and len(self.whatsapp_message_ids) <= MOST_IDS:
            self.whatsapp_message_ids.append(whatsapp_message_id)
        if reason is not None and (reason in self.reasons or len(self.reasons) < _REASONS_KEPT):
            self.reasons[reason] += 1


class BatchRun:
    """
    Sends what is in a batch and was not sent before.

    :param messages: The batch, checked.
    :param total: How many messages it has.
    :param settings: Where and as whom.
    :param terms: On what terms.
    :param ledger: What was sent before, open.
    :param results: Takes a line a message, open.
    :param stopped: Tells whether the task was told to stop.
    """

    def __init__(
        self,
        messages: BatchInput,
        total: int,
        *,
        settings: Settings,
        terms: SendOptions,
        ledger: Ledger,
        results: ResultsWriter,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.counts = Counts(total=total)
        self.fatal: IntercomError | None = None
        """Why the batch was stopped before its end; None when it came to its end."""

        self._broken: Exception | None = None
        self._messages: Iterator[Item] = iter(messages)
        self._settings = settings
        self._terms = terms
        self._ledger = ledger
        self._results = results
        self._stopped = stopped
        self._is_over = False
        self._exhausted = False
        self._uncommitted: dict[str, Ids | None] = {}
        self._committed_at = self._progress_at = self._began = time.monotonic()
        self._progress_done = 0
        self._ahead, self._pace, self._answered_since_commit = _LEAST_AHEAD, 0.0, 0
        self._silent = 0
        # Courses that have to wait before their next request: they block no lane, and certainly were not sent.
        self._delayed: list[tuple[float, int, MessageInFlight]] = []
        pacer = Pacer(terms.budget)
        self._threads = SenderThreads(
            lambda: IntercomClient(settings, pacer=pacer, stopped=self._must_stop), terms.concurrency, pacer
        )

    def run(self) -> Counts:
        """
        Send.

        :return: What became of the messages; ``fatal`` says whether the batch came to its end.
        :raises StoppedError: When the task was told to stop.
        :raises SupersededError: When another attempt of the same task has taken over.
        """
        log.info("%d messages to %s", self.counts.total, self._settings.url)
        try:
            self._send_all()
        finally:
            # Also when the ledger cannot be written: what is under way is heard out.
            self._drain()
        self._log_progress()
        if self._broken is not None:
            raise self._broken
        if self._stopped():
            raise StoppedError("the task was told to stop; the rest of the batch was not sent")
        return self.counts

    def _send_all(self) -> None:
        self._commit()
        while self._threads.under_way or self._delayed or not self._exhausted:
            if self._must_stop():
                return
            self._collect_results(_LISTENS_FOR)
            if self._is_time_to_commit():
                self._commit()
            if time.monotonic() - self._progress_at >= _PROGRESS_INTERVAL_SECONDS:
                self._log_progress()

    def _collect_results(self, timeout: float) -> None:
        if self._delayed:
            timeout = max(_SHORTEST_PAUSE, min(timeout, self._delayed[0][0] - time.time()))
        in_flight = self._threads.take(timeout)
        while in_flight is not None:
            self._answered_since_commit += 1
            self._silent = self._silent + 1 if in_flight.unanswered else 0
            if in_flight.receipt is not None or in_flight.error is not None:
                self._record_result(in_flight)
            else:
                self._delay(in_flight)
            in_flight = self._threads.take(0.0)

    def _delay(self, in_flight: MessageInFlight) -> None:
        due = time.time() + in_flight.request.after
        if in_flight.request.deadline is not None:
            # Its own end ends the wait, as it would in a client.
            due = min(due, in_flight.request.deadline)
        heapq.heappush(self._delayed, (due, in_flight.index, in_flight))
        in_flight.request = replace(in_flight.request, after=0.0)
        self._uncommitted[in_flight.digest] = None

    def _is_time_to_commit(self) -> bool:
        waited = time.monotonic() - self._committed_at
        few = self._may_begin and self._threads.under_way - self._threads.size < self._ahead // 4
        due = waited >= _DUE_WRITES_EVERY and bool(self._delayed) and self._delayed[0][0] <= time.time()
        late = waited >= _COMMIT_INTERVAL_SECONDS and bool(self._uncommitted)
        return few or due or late or len(self._uncommitted) >= MAX_UNCOMMITTED

    def _commit(self, *, more: bool = True) -> None:
        """Write the results so far and the next intents, then let the lanes have them."""
        courses = deque(self._next_courses() if more else ())
        if not courses and not self._uncommitted:
            return
        try:
            self._ledger.commit(self._uncommitted, [in_flight.digest for in_flight in courses])
            self._uncommitted = {}
            self._keep_pace()
            while courses:
                self._threads.put(courses.popleft())
        finally:
            # Where a store or Airflow's time-out ended it, what no lane has got is an intent and was not sent.
            self._uncommitted |= dict.fromkeys(in_flight.digest for in_flight in courses)

    def _keep_pace(self) -> None:
        """Reckon from what was answered since the last write how many have to wait for a lane until the next."""
        now = time.monotonic()
        if self._answered_since_commit:
            pace = self._answered_since_commit / max(now - self._committed_at, 0.001)
            self._pace = (self._pace + pace) / 2 if self._pace else pace
            self._ahead = min(AHEAD, max(_LEAST_AHEAD, round(self._pace * _AHEAD_SECONDS)))
        self._answered_since_commit, self._committed_at = 0, now

    def _next_courses(self) -> Iterator[MessageInFlight]:
        room = self._ahead - max(0, self._threads.under_way - self._threads.size)
        while room > 0 and self._delayed and self._delayed[0][0] <= time.time():
            room -= 1
            yield heapq.heappop(self._delayed)[2]
        while room > 0 and self._may_begin:
            item = next(self._messages, None)
            if item is None:
                self._exhausted = True
                return
            in_flight = self._course_of(item)
            if in_flight is not None:
                room -= 1
                yield in_flight

    @property
    def _may_begin(self) -> bool:
        is_silent = self._silent >= _SILENT and (self._threads.under_way or self._delayed)
        return not (self._exhausted or is_silent)

    def _course_of(self, item: Item) -> MessageInFlight | None:
        """Start a message on its way, unless it is known already what becomes of it."""
        if item.duplicate_of is not None:
            self._add_result(item.index, item.key, "duplicate", reason=f"the same as index {item.duplicate_of}")
            return None
        found = None if self._settings.dry_run else self._ledger.find(item.digest)
        if found is not None and not self._ledger.may_send(found, self._terms.repeat, self._terms.on_unconfirmed):
            self._answer_from(found, item)
            return None
        if item.message is None:
            self._add_result(item.index, item.key, "rejected", reason=item.refusal)
            return None
        if self._terms.not_after is not None and time.time() >= self._terms.not_after:
            self._add_result(item.index, item.key, "expired", reason="not_after passed: the message was not sent")
            return None
        limits = RetryLimits(
            attempts=_ATTEMPTS,
            contact_wait=self._terms.contact_wait,
            contact_pause=_CONTACT_PAUSE,
            deadline=self._terms.not_after,
        )
        flow = calls.send_message(item.message, self._settings, limits)
        try:
            return MessageInFlight(item.index, item.digest, item.key, flow, next(flow))
        except StopIteration as end:
            self._add_receipt(item.index, item.key, end.value)
            return None

    def _answer_from(self, found: Entry, item: Item) -> None:
        if found.state == "sent":
            ids, reason = found.ids, f"already sent by {found}"
            self._add_result(item.index, item.key, "already_sent", ids, reason)
            return
        self._count_unconfirmed(item.index, item.key, f"{found} left no result")

    def _record_result(self, in_flight: MessageInFlight) -> None:
        """Take in what became of a message."""
        error = in_flight.error
        if error is None:
            assert in_flight.receipt is not None  # noqa: S101 - a course is over with the one or the other
            receipt = in_flight.receipt
            self._uncommitted[in_flight.digest] = (
                Ids(receipt.id, receipt.whatsapp_message_id) if receipt.outcome == "sent" else None
            )
            self._add_receipt(in_flight.index, in_flight.key, receipt)
        elif isinstance(error, StoppedError):
            self._uncommitted[in_flight.digest] = None
        elif isinstance(error, UnconfirmedError):
            cause = error.__cause__
            shared = cause.summary if isinstance(cause, ApiError) else None
            self._count_unconfirmed(in_flight.index, in_flight.key, error.why, shared)
        elif isinstance(error, IntercomError):
            self._uncommitted[in_flight.digest] = None
            self._refuse(in_flight, error)
        else:
            # Whatever it is, nothing was sent; what is under way beside it is heard out first.
            self._uncommitted[in_flight.digest] = None
            self._broken = self._broken or error
        if self._threads.last_unanswered is in_flight:
            last = error.why if isinstance(error, UnconfirmedError) else str(error).rstrip(".")
            self._abort(
                UnreachableError(
                    f"{MAX_CONSECUTIVE_UNANSWERED} messages in a row got no answer that can be read; the last: {last}. "
                    "The rest was not tried"
                )
            )

    def _refuse(self, in_flight: MessageInFlight, error: IntercomError) -> None:
        if _stops_all(error):
            self._abort(error)
        self.counts.transient += error.transient
        outcome: Outcome = "expired" if isinstance(error, ExpiredError) else "rejected"
        self._add_result(in_flight.index, in_flight.key, outcome, reason=str(error), shared=_without_request_id(error))

    def _abort(self, error: IntercomError) -> None:
        if self.fatal is None:
            log.error("The batch is stopped: %s", error)
            self.fatal = error

    def _count_unconfirmed(self, index: int, key: str | int | None, why: str, shared: str | None = None) -> None:
        self.counts.transient += self._terms.on_unconfirmed == "resend"
        doubt = "it may have been sent or not: "
        self._add_result(index, key, "unconfirmed", reason=doubt + why, shared=doubt + (shared or why))

    def _add_receipt(self, index: int, key: str | int | None, receipt: Receipt) -> None:
        self._add_result(index, key, receipt.outcome, Ids(receipt.id, receipt.whatsapp_message_id), receipt.reason)

    def _add_result(
        self,
        index: int,
        key: str | int | None,
        outcome: str,
        ids: Ids = NO_IDS,
        reason: str | None = None,
        shared: str | None = None,
    ) -> None:
        known = outcome in ("sent", "already_sent", "duplicate")
        self.counts.add(outcome, ids[1], None if known else shared or reason)
        line: dict[str, Any] = {"index": index, "key": key, "outcome": outcome}
        self._results.add({**line, "id": ids[0], "whatsapp_message_id": ids[1], "reason": reason})

    def _must_stop(self) -> bool:
        is_hopeless = self._threads.last_unanswered is not None
        return self._is_over or is_hopeless or self.fatal is not None or self._broken is not None or self._stopped()

    def _drain(self) -> None:
        """Hear out what is under way, make no further request, and write what came of it."""
        self._is_over = True
        give_up = time.monotonic() + _ENDING_LASTS
        try:
            while self._threads.under_way and time.monotonic() < give_up:
                self._collect_results(_LISTENS_FOR)
                if time.monotonic() - self._committed_at >= _LISTENS_FOR:
                    self._commit(more=False)
            self._commit(more=False)
        finally:
            self._results.write()
            self._threads.close(_LISTENS_FOR)

    def _log_progress(self) -> None:
        now = time.monotonic()
        counts, elapsed = self.counts, max(now - self._progress_at, 0.001)
        rate = (counts.done - self._progress_done) / elapsed
        self._progress_at, self._progress_done = now, counts.done
        overall = counts.done / max(now - self._began, 0.001)
        parts = {name: getattr(counts, name) for name in _TOLD}
        told = [
            f"{counts.sent} sent",
            *(f"{number} {name.replace('_', ' ')}" for name, number in parts.items() if number),
        ]
        if self._delayed:
            told.append(f"{len(self._delayed)} to be tried again")
        pace = f"{rate:.0f} a second"
        if counts.done < counts.total and overall and not self._is_over:
            pace += f", about {(counts.total - counts.done) / overall:.0f} s left"
        log.info("%d of %d: %s; %s", counts.done, counts.total, ", ".join(told), pace)


def _stops_all(error: IntercomError) -> bool:
    """Tell what every message would meet for as long as anybody waits."""
    # What is wrong with a message was found before the first was sent; this is about the way to Intercom.
    if isinstance(error, UnauthorizedError | ForbiddenError | InvalidInputError):
        return True
    if isinstance(error, RateLimitedError) and error.retry_at is not None:
        return error.retry_at > time.time() + MAX_DELAY_SECONDS
    return isinstance(error, ApiError) and error.code == "intercom_version_invalid"


def _without_request_id(error: IntercomError) -> str:
    return error.summary if isinstance(error, ApiError) else str(error)
