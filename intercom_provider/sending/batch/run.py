"""
Send a batch: many messages through many threads, each recorded in the ledger before it goes out.

The problem: a batch of 100,000 messages goes out at 130 a second, through up to 100 threads, and its process can be
killed at any moment. No message may go out twice, so its intent must be durable before its request is made, and its
result must be recorded after it. But a write to Airflow's task state store takes 4 to 8 ms, and only the task's main
thread may make it: two writes a message would be slower than the rate limit.

The idea is the group commit of databases. The main thread alone talks to the ledger. One write carries the results
since the last write and the intents of the next messages; only when it has returned are these messages handed to the
threads. A kill leaves unconfirmed those messages whose intent is written and whose result is not. The ledger limits
how many there are (``max_open``) and how many of them may wait for a thread (``max_waiting``); as each write tops up
what is open and no request is made without one, the limits hold at any moment. Within them the queue is as long as the
threads need between two writes at the current pace, so a slow batch risks fewer.

A call is left between two requests: a message that has to wait (its contact is missing, Intercom asks for a pause)
leaves its thread, its intent is withdrawn, and it goes out again with a later write. So waits hold nobody else up.

A stop makes no further request, waits for the answers to those that were made, and writes their results. Every message
that was not attempted counts as ``not_sent``.

Rejected: one write per message (slower than the limit); sending first and writing later (a kill repeats messages); a
writing thread (Airflow's supervisor takes one call at a time); chunks that are written, sent and awaited one after the
other (each waits for its slowest reply); asyncio (the store has no async methods, and a client takes more CPU so).
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from intercom_provider.api import calls
from intercom_provider.api.client import IntercomClient
from intercom_provider.api.errors import (
    CommonRefusalError,
    ExpiredError,
    IntercomError,
    RateLimitedError,
    StoppedError,
    UnconfirmedError,
    UnreachableError,
)
from intercom_provider.api.flow import RetryLimits
from intercom_provider.api.pacing import MAX_DELAY_SECONDS, Pacer
from intercom_provider.api.stepper import Stepper
from intercom_provider.ledger.ledger import Result, ids_of
from intercom_provider.metrics import report_requests
from intercom_provider.sending.batch.common_refusal import MAX_UNKNOWN_CONTACTS, CommonRefusal
from intercom_provider.sending.batch.delayed import DelayedMessages
from intercom_provider.sending.batch.progress import ProgressLog
from intercom_provider.sending.batch.recorder import Recorder
from intercom_provider.sending.batch.screening import Screening
from intercom_provider.sending.batch.threads import MAX_CONSECUTIVE_UNANSWERED, MessageInFlight, SenderThreads
from intercom_provider.sending.batch.try_record import TryRecord
from intercom_provider.sending.batch.window import HeldMessages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from intercom_provider.api.message import Message
    from intercom_provider.api.settings import Settings
    from intercom_provider.ledger.ledger import Ledger
    from intercom_provider.results.writer import ResultsWriter
    from intercom_provider.sending.batch.counts import Counts
    from intercom_provider.sending.batch.input import BatchInput, Item
    from intercom_provider.sending.batch.window import BatchWindow
    from intercom_provider.sending.options import SendOptions

log = logging.getLogger(__name__)

MAX_UNCOMMITTED: Final = 100
"""How many results wait to be written at most, and no longer than a second."""

_COMMIT_INTERVAL_SECONDS: Final = 1.0
_MIN_QUEUED_INTENTS: Final = 20
_QUEUED_INTENTS_SECONDS: Final = 1.5
# A write is begun when what waits for a thread lasts for twice as long as the last one took.
_COMMITS_AHEAD: Final = 2
_MAX_ATTEMPTS: Final = 8
# Where many contacts are missing, asking for each as often as for one would cost more than sending.
_CONTACT_PAUSE_SECONDS: Final = 2.0
# After so many unanswered requests in a row, no new message is begun until one is answered.
_MAX_UNANSWERED_BEFORE_PAUSE: Final = 20
# Delayed messages that are due go out with the next write; a write for them alone is made no more often than this.
_DUE_COMMIT_INTERVAL_SECONDS: Final = 0.5
# After a stop, answers are waited for; a task that was told to stop is killed by Airflow after five seconds, though.
_MAX_DRAIN_SECONDS: Final = 60.0
_MAX_TAKE_SECONDS: Final = 0.25
_MIN_TAKE_SECONDS: Final = 0.05
# After a fatal error of Intercom's, each remaining message gets a line in the results as far as this time allows.
_MAX_REST_SECONDS: Final = 10.0


class BatchRun:
    """
    Sends the messages of a batch that were not sent before.

    :param messages: The batch, checked.
    :param total: How many messages it has.
    :param settings: The address, the token and the default sender.
    :param options: The options of the batch.
    :param ledger: The ledger, whose try has begun.
    :param results: The writer of one line per message, open; it is closed at the end.
    :param stopped: Returns True when the task was told to stop.
    :param reason_to_suppress: Returns why a message must not be sent; None when it may be.
    :param window: The local times between which messages go out; None (default) for any time.
    :param record: What this try has done before it waited for the window; None (default) when it begins.
    :param publish: Takes the counts every ten seconds, for people to see while the batch runs.
    """

    def __init__(
        self,
        messages: BatchInput,
        total: int,
        *,
        settings: Settings,
        options: SendOptions,
        ledger: Ledger,
        results: ResultsWriter,
        stopped: Callable[[], bool] = lambda: False,
        reason_to_suppress: Callable[[Message], str | None] = lambda _: None,
        window: BatchWindow | None = None,
        record: TryRecord | None = None,
        publish: Callable[[Mapping[str, float]], None] = lambda _: None,
    ) -> None:
        record = record or TryRecord(total)
        self.counts = record.counts
        self.opens_at: datetime | None = None
        """When the first message that waits for its window may go out; None when the batch has ended."""

        self.fatal: IntercomError | None = None
        """The error that stopped the batch before its end; None when it came to its end."""

        self._broken: Exception | None = None
        self._screening = Screening(options, None if settings.dry_run else ledger, reason_to_suppress)
        self._rest: Callable[[], Iterator[Item]] = lambda: self._screening.looked_up(
            item for item in messages if not record.has(item.index)
        )
        self._messages = self._rest()
        self._settings = settings
        self._options = options
        self._ledger = ledger
        self._results = results
        self._stopped = stopped
        self._is_over = self._exhausted = False
        self._uncommitted: dict[str, Result | None] = {}
        self._committed_at = time.monotonic()
        self._max_queued = min(_MIN_QUEUED_INTENTS, ledger.max_waiting)
        self._pace, self._answered_since_commit, self._commit_took = 0.0, 0, 0.0
        self._consecutive_unanswered = 0
        self._common_refusal = CommonRefusal(self.counts)
        self._delayed = DelayedMessages()
        self._progress = ProgressLog(self.counts, publish)
        self._recorder = Recorder(record, results, may_resend=options.on_unconfirmed == "resend")
        self._held = HeldMessages(window, options.not_after, self._recorder)
        self._pacer = pacer = Pacer(options.budget)
        self._threads = SenderThreads(
            lambda: IntercomClient(settings, pacer=pacer, stopped=self._must_stop), options.concurrency, pacer
        )

    def run(self) -> Counts:
        """
        Send the messages.

        :return: The counts; ``fatal`` is set where the batch was stopped before its end.
        :raises StoppedError: When the task was told to stop.
        :raises SupersededError: When another attempt of the same task has taken over.
        """
        log.info("%d messages to %s", self.counts.total - self.counts.done, self._settings.url)
        try:
            self._send_all()
        finally:
            # Also when the ledger cannot be written: requests may have been made, whose answers are collected.
            try:
                self._drain()
            finally:
                self._report_metrics()
        if isinstance(self.fatal, CommonRefusalError):
            # What all messages have in common, a retry meets as well.
            self.counts.transient = 0
        self._progress.write(delayed=len(self._delayed), is_over=True)
        if self._broken is not None:
            raise self._broken
        if self._stopped():
            raise StoppedError("the task was told to stop; the rest of the batch was not sent")
        return self.counts

    @property
    def waiting(self) -> int:
        """How many messages wait for their window."""
        return self._held.count

    def _send_all(self) -> None:
        self._commit()
        while self._threads.under_way or self._delayed or not self._exhausted:
            if self._must_stop():
                return
            self._collect_results(_MAX_TAKE_SECONDS)
            if self._is_time_to_commit():
                self._commit()
                self._report_metrics()
            if self._progress.is_due:
                self._progress.write(delayed=len(self._delayed), waiting=self.waiting)

    def _report_metrics(self) -> None:
        self._recorder.report()
        report_requests(self._pacer.usage)

    def _collect_results(self, timeout: float) -> None:
        if self._delayed:
            timeout = max(_MIN_TAKE_SECONDS, min(timeout, self._delayed.seconds_until_due))
        in_flight = self._threads.take(timeout)
        while in_flight is not None:
            self._answered_since_commit += 1
            is_unanswered = in_flight.last_request_unanswered
            self._consecutive_unanswered = self._consecutive_unanswered + 1 if is_unanswered else 0
            if in_flight.is_over:
                self._record_result(in_flight)
            else:
                self._delayed.add(in_flight)
                self._uncommitted[in_flight.item.digest] = None
            in_flight = self._threads.take(0.0)

    def _is_time_to_commit(self) -> bool:
        waited = time.monotonic() - self._committed_at
        quarter = max(1, self._max_queued // 4)
        last_ahead = min(round(_COMMITS_AHEAD * self._commit_took * self._pace), 3 * quarter)
        # Never for each single message, where so many are under way that only few may be added.
        may_add_several = self._room >= min(quarter, self._ledger.max_open // 8)
        few = self._may_begin and may_add_several and self._threads.waiting < max(quarter, last_ahead)
        due = waited >= _DUE_COMMIT_INTERVAL_SECONDS and self._delayed.has_due
        late = waited >= _COMMIT_INTERVAL_SECONDS and (bool(self._uncommitted) or self._ledger.wants_commit)
        return few or due or late or len(self._uncommitted) >= MAX_UNCOMMITTED

    def _commit(self, *, more: bool = True) -> None:
        """Write the results so far and the next intents, then hand these messages to the threads."""
        upcoming = deque(self._next_messages() if more else ())
        if not (upcoming or self._uncommitted or self._ledger.wants_commit):
            return
        begun = time.monotonic()
        try:
            refused = self._ledger.commit(self._uncommitted, {each.item.digest: each.intent for each in upcoming})
            self._uncommitted = {}
            self._commit_took = time.monotonic() - begun
            self._adapt_queue_length()
            while upcoming:
                in_flight = upcoming.popleft()
                if in_flight.item.digest in refused:
                    self._recorder.add_earlier(in_flight.item, self._ledger.find(in_flight.item.digest))
                else:
                    in_flight.request = self._held.limit(in_flight.item, in_flight.request)
                    self._threads.put(in_flight)
        finally:
            # An error of the store or Airflow's time-out leaves intents that no thread has got: they were not sent.
            self._uncommitted |= dict.fromkeys(in_flight.item.digest for in_flight in upcoming)

    def _adapt_queue_length(self) -> None:
        """Set how many messages may wait for a thread from the pace since the last write."""
        now = time.monotonic()
        if self._answered_since_commit:
            pace = self._answered_since_commit / max(now - self._committed_at, 0.001)
            self._pace = (self._pace + pace) / 2 if self._pace else pace
            needed = round(self._pace * _QUEUED_INTENTS_SECONDS)
            self._max_queued = min(self._ledger.max_waiting, max(_MIN_QUEUED_INTENTS, needed))
        self._answered_since_commit, self._committed_at = 0, now

    @property
    def _room(self) -> int:
        """How many messages may be intended with the next write."""
        return min(self._max_queued - self._threads.waiting, self._ledger.max_open - len(self._threads.under_way))

    def _next_messages(self) -> Iterator[MessageInFlight]:
        room = self._room
        while room > 0 and self._delayed.has_due:
            in_flight = self._delayed.pop()
            if not self._held.hold(in_flight.item):
                room -= 1
                yield in_flight
        while room > 0 and self._may_begin and not self._stopped():
            item = next(self._messages, None)
            if item is None:
                self._exhausted = True
                return
            if self._screening.record_known_outcome(item, self._recorder) or self._held.hold(item):
                continue
            begun = self._begin(item)
            if begun is not None:
                room -= 1
                yield begun

    @property
    def _may_begin(self) -> bool:
        is_silent = self._consecutive_unanswered >= _MAX_UNANSWERED_BEFORE_PAUSE
        # While nobody was accepted, a few contacts show whether they are new or the sender is wrong.
        has_unknown = any(in_flight.waits_for_contact for in_flight in self._delayed)
        is_doubtful = has_unknown and not self.counts.is_any_accepted
        open_messages = len(self._delayed) + len(self._threads.under_way)
        waits = is_silent or (is_doubtful and open_messages >= MAX_UNKNOWN_CONTACTS)
        return not (self._exhausted or (waits and (self._threads.under_way or self._delayed)))

    def _begin(self, item: Item) -> MessageInFlight | None:
        """Begin to send a message; None for a dry run, which makes no request."""
        assert item.message is not None  # noqa: S101 - else its outcome is known
        limits = RetryLimits(
            attempts=_MAX_ATTEMPTS,
            contact_wait=self._options.contact_wait,
            contact_pause=_CONTACT_PAUSE_SECONDS,
            deadline=self._options.not_after,
        )
        call = Stepper(calls.send_message(item.message, self._settings, limits))
        call.begin()
        if call.asked is None:
            self._recorder.add_receipt(item, call.result)
            return None
        return MessageInFlight(item, call, call.asked)

    def _record_result(self, in_flight: MessageInFlight) -> None:
        """Record the result of a call that has ended, for the ledger, the counts and the results."""
        item, receipt, error = in_flight.item, in_flight.receipt, in_flight.error
        if receipt is not None:
            self._uncommitted[item.digest] = Result(receipt.outcome, receipt.reason, ids_of(receipt))
            self._recorder.add_receipt(item, receipt)
            if receipt.outcome == "rejected":
                self._abort(self._common_refusal.refuse_unaccepted(receipt.reason or ""))
        elif isinstance(error, UnconfirmedError):
            self._uncommitted[item.digest] = Result("unconfirmed", error.why)
            self._recorder.add_unconfirmed(item, error)
        elif isinstance(error, ExpiredError) and self._held.hold_expired(item, in_flight.request):
            self._uncommitted[item.digest] = None
        elif not isinstance(error, IntercomError):
            # An error of this machine, before anything was written: nothing more can be sent.
            self._broken = self._broken or error
            self._uncommitted[item.digest] = None
            self._recorder.add_not_sent(item)
        else:
            if isinstance(error, RateLimitedError) and (error.retry_at or 0) > time.time() + MAX_DELAY_SECONDS:
                # The rate limit opens too late to wait for it.
                self._abort(error)
            self._uncommitted[item.digest] = Result(self._recorder.add_error(item, error), str(error))
            self._abort(self._common_refusal.refuse(error))
        if self._threads.last_unanswered is in_flight:
            last = error.why if isinstance(error, UnconfirmedError) else str(error).rstrip(".")
            self._abort(
                UnreachableError(
                    f"{MAX_CONSECUTIVE_UNANSWERED} messages in a row got no answer that can be read; the last: {last}. "
                    "The rest was not tried"
                )
            )

    def _abort(self, error: IntercomError | None) -> None:
        if error is not None and self.fatal is None:
            log.error("The batch is stopped: %s", error)
            self.fatal = error

    def _must_stop(self) -> bool:
        is_hopeless = self._threads.last_unanswered is not None
        must_not_send = self._is_over or is_hopeless or not self._ledger.may_send_now
        return must_not_send or self.fatal is not None or self._broken is not None or self._stopped()

    def _drain(self) -> None:
        """Make no further request, wait for the answers to those that were made, and write all results."""
        self._is_over = True
        give_up = time.monotonic() + _MAX_DRAIN_SECONDS
        try:
            while self._threads.under_way and time.monotonic() < give_up:
                self._collect_results(_MAX_TAKE_SECONDS)
                if time.monotonic() - self._committed_at >= _MAX_TAKE_SECONDS:
                    self._commit(more=False)
            self._commit(more=False)
            if self._exhausted and not (self._delayed or self.fatal or self._broken or self._stopped()):
                self.opens_at = self._held.opens_at
        finally:
            try:
                if self.opens_at is None:
                    self.end()
            finally:
                self._threads.close(_MAX_TAKE_SECONDS)

    def end(self) -> None:
        """Record an outcome for every message that has none yet, so that the counts add up, and end the results."""
        self.opens_at = None
        try:
            for in_flight in self._threads.under_way:
                self._recorder.add_unanswered(in_flight.item)
            while self._delayed:
                self._recorder.add_not_sent(self._delayed.pop().item)
            # A task that was told to stop has no time for this: its remaining messages are only counted.
            give_up = time.monotonic() + _MAX_REST_SECONDS
            rest = self._rest() if self.waiting else self._messages  # Those that wait were read before.
            while self.fatal and not self._stopped() and time.monotonic() < give_up and (item := next(rest, None)):
                if not self._screening.record_known_outcome(item, self._recorder):
                    self._recorder.add_not_sent(item)
        finally:
            self._recorder.count_rest()
            self._results.close(self._stopped)
