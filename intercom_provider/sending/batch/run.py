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
from intercom_provider.api.flow import Patience
from intercom_provider.api.pacing import LONGEST_HOLD, Pacer
from intercom_provider.sending.batch.threads import HOPELESS, Course, Lanes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from intercom_provider.api.models import Outcome, Receipt
    from intercom_provider.api.settings import Settings
    from intercom_provider.ledger.ledger import OnUnconfirmed, Repeat
    from intercom_provider.ledger.task_state import BatchLedger, Ids, Record
    from intercom_provider.results.writer import Results
    from intercom_provider.sending.batch.input import BatchInput, Item

log = logging.getLogger(__name__)

AHEAD: Final = 100
"""How many messages are intended and wait for a lane at most; these and one a lane a kill can leave unconfirmed."""

MOST_UNWRITTEN: Final = 100
"""How many results wait to be written at most, and no longer than a second."""

MOST_IDS: Final = 1_000
MOST_REASONS: Final = 10

_WRITES_EVERY: Final = 1.0
_TELLS_EVERY: Final = 5.0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """
    On what terms a batch is sent.

    :param contact_wait: Seconds for which a contact may be missing.
    :param not_after: Epoch seconds after which nothing is sent; None for no limit.
    :param repeat: When what was sent may be sent again.
    :param on_unconfirmed: What becomes of an earlier try without a known outcome.
    :param budget: The share of the rate limit that the batch may use.
    :param concurrency: How many requests are in flight at most; None for as many as it takes.
    """

    contact_wait: float = 30.0
    not_after: float | None = None
    repeat: Repeat | str = "never"
    on_unconfirmed: OnUnconfirmed | str = "fail"
    budget: float = 0.8
    concurrency: int | None = None


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
        terms: Terms,
        ledger: BatchLedger,
        results: Results,
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
        self._unwritten: dict[str, Ids | None] = {}
        self._written_at = self._told_at = self._began = time.monotonic()
        self._told_done = 0
        self._ahead, self._pace, self._heard = _LEAST_AHEAD, 0.0, 0
        self._silent = 0
        # Courses that have to wait before their next request: they block no lane, and certainly were not sent.
        self._later: list[tuple[float, int, Course]] = []
        pacer = Pacer(terms.budget)
        self._lanes = Lanes(
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
            self._pump()
        finally:
            # Also when the ledger cannot be written: what is under way is heard out.
            self._end()
        self._tell()
        if self._broken is not None:
            raise self._broken
        if self._stopped():
            raise StoppedError("the task was told to stop; the rest of the batch was not sent")
        return self.counts

    def _pump(self) -> None:
        self._write()
        while self._lanes.under_way or self._later or not self._exhausted:
            if self._must_stop():
                return
            self._hear(_LISTENS_FOR)
            if self._is_time_to_write():
                self._write()
            if time.monotonic() - self._told_at >= _TELLS_EVERY:
                self._tell()

    def _hear(self, timeout: float) -> None:
        if self._later:
            timeout = max(_SHORTEST_PAUSE, min(timeout, self._later[0][0] - time.time()))
        course = self._lanes.take(timeout)
        while course is not None:
            self._heard += 1
            self._silent = self._silent + 1 if course.unanswered else 0
            if course.receipt is not None or course.error is not None:
                self._conclude(course)
            else:
                self._put_off(course)
            course = self._lanes.take(0.0)

    def _put_off(self, course: Course) -> None:
        due = time.time() + course.request.after
        if course.request.deadline is not None:
            # Its own end ends the wait, as it would in a client.
            due = min(due, course.request.deadline)
        heapq.heappush(self._later, (due, course.index, course))
        course.request = replace(course.request, after=0.0)
        self._unwritten[course.identity] = None

    def _is_time_to_write(self) -> bool:
        waited = time.monotonic() - self._written_at
        few = self._may_begin and self._lanes.under_way - self._lanes.size < self._ahead // 4
        due = waited >= _DUE_WRITES_EVERY and bool(self._later) and self._later[0][0] <= time.time()
        late = waited >= _WRITES_EVERY and bool(self._unwritten)
        return few or due or late or len(self._unwritten) >= MOST_UNWRITTEN

    def _write(self, *, more: bool = True) -> None:
        """Write the results so far and the next intents, then let the lanes have them."""
        courses = deque(self._next_courses() if more else ())
        if not courses and not self._unwritten:
            return
        try:
            self._ledger.commit(self._unwritten, [course.identity for course in courses])
            self._unwritten = {}
            self._keep_pace()
            while courses:
                self._lanes.put(courses.popleft())
        finally:
            # Where a store or Airflow's time-out ended it, what no lane has got is an intent and was not sent.
            self._unwritten |= dict.fromkeys(course.identity for course in courses)

    def _keep_pace(self) -> None:
        """Reckon from what was answered since the last write how many have to wait for a lane until the next."""
        now = time.monotonic()
        if self._heard:
            pace = self._heard / max(now - self._written_at, 0.001)
            self._pace = (self._pace + pace) / 2 if self._pace else pace
            self._ahead = min(AHEAD, max(_LEAST_AHEAD, round(self._pace * _AHEAD_SECONDS)))
        self._heard, self._written_at = 0, now

    def _next_courses(self) -> Iterator[Course]:
        room = self._ahead - max(0, self._lanes.under_way - self._lanes.size)
        while room > 0 and self._later and self._later[0][0] <= time.time():
            room -= 1
            yield heapq.heappop(self._later)[2]
        while room > 0 and self._may_begin:
            item = next(self._messages, None)
            if item is None:
                self._exhausted = True
                return
            course = self._course_of(item)
            if course is not None:
                room -= 1
                yield course

    @property
    def _may_begin(self) -> bool:
        is_silent = self._silent >= _SILENT and (self._lanes.under_way or self._later)
        return not (self._exhausted or is_silent)

    def _course_of(self, item: Item) -> Course | None:
        """Start a message on its way, unless it is known already what becomes of it."""
        if item.duplicate_of is not None:
            self._tell_of(item.index, item.key, "duplicate", reason=f"the same as index {item.duplicate_of}")
            return None
        found = None if self._settings.dry_run else self._ledger.find(item.identity)
        if found is not None and not self._ledger.may_send(found, self._terms.repeat, self._terms.on_unconfirmed):
            self._answer_from(found, item)
            return None
        if item.message is None:
            self._tell_of(item.index, item.key, "rejected", reason=item.refusal)
            return None
        if self._terms.not_after is not None and time.time() >= self._terms.not_after:
            self._tell_of(item.index, item.key, "expired", reason="not_after passed: the message was not sent")
            return None
        patience = Patience(
            attempts=_ATTEMPTS,
            contact_wait=self._terms.contact_wait,
            contact_pause=_CONTACT_PAUSE,
            deadline=self._terms.not_after,
        )
        flow = calls.send_message(item.message, self._settings, patience)
        try:
            return Course(item.index, item.identity, item.key, flow, next(flow))
        except StopIteration as end:
            self._tell_of_receipt(item.index, item.key, end.value)
            return None

    def _answer_from(self, found: Record, item: Item) -> None:
        if found.state == "sent":
            ids, reason = found.ids, f"already sent by {found}"
            self._tell_of(item.index, item.key, "already_sent", ids, reason)
            return
        self._count_unconfirmed(item.index, item.key, f"{found} left no result")

    def _conclude(self, course: Course) -> None:
        """Take in what became of a message."""
        error = course.error
        if error is None:
            assert course.receipt is not None  # noqa: S101 - a course is over with the one or the other
            receipt = course.receipt
            self._unwritten[course.identity] = (
                (receipt.id, receipt.whatsapp_message_id) if receipt.outcome == "sent" else None
            )
            self._tell_of_receipt(course.index, course.key, receipt)
        elif isinstance(error, StoppedError):
            self._unwritten[course.identity] = None
        elif isinstance(error, UnconfirmedError):
            cause = error.__cause__
            shared = cause.summary if isinstance(cause, ApiError) else None
            self._count_unconfirmed(course.index, course.key, error.why, shared)
        elif isinstance(error, IntercomError):
            self._unwritten[course.identity] = None
            self._refuse(course, error)
        else:
            # Whatever it is, nothing was sent; what is under way beside it is heard out first.
            self._unwritten[course.identity] = None
            self._broken = self._broken or error
        if self._lanes.last_lost is course:
            last = error.why if isinstance(error, UnconfirmedError) else str(error).rstrip(".")
            self._give_up(
                UnreachableError(
                    f"{HOPELESS} messages in a row got no answer that can be read; the last: {last}. "
                    "The rest was not tried"
                )
            )

    def _refuse(self, course: Course, error: IntercomError) -> None:
        if _stops_all(error):
            self._give_up(error)
        self.counts.transient += error.transient
        outcome: Outcome = "expired" if isinstance(error, ExpiredError) else "rejected"
        self._tell_of(course.index, course.key, outcome, reason=str(error), shared=_without_request_id(error))

    def _give_up(self, error: IntercomError) -> None:
        if self.fatal is None:
            log.error("The batch is stopped: %s", error)
            self.fatal = error

    def _count_unconfirmed(self, index: int, key: str | int | None, why: str, shared: str | None = None) -> None:
        self.counts.transient += self._terms.on_unconfirmed == "resend"
        doubt = "it may have been sent or not: "
        self._tell_of(index, key, "unconfirmed", reason=doubt + why, shared=doubt + (shared or why))

    def _tell_of_receipt(self, index: int, key: str | int | None, receipt: Receipt) -> None:
        self._tell_of(index, key, receipt.outcome, (receipt.id, receipt.whatsapp_message_id), receipt.reason)

    def _tell_of(
        self,
        index: int,
        key: str | int | None,
        outcome: str,
        ids: Ids = (None, None),
        reason: str | None = None,
        shared: str | None = None,
    ) -> None:
        known = outcome in ("sent", "already_sent", "duplicate")
        self.counts.add(outcome, ids[1], None if known else shared or reason)
        line: dict[str, Any] = {"index": index, "key": key, "outcome": outcome}
        self._results.add({**line, "id": ids[0], "whatsapp_message_id": ids[1], "reason": reason})

    def _must_stop(self) -> bool:
        is_hopeless = self._lanes.last_lost is not None
        return self._is_over or is_hopeless or self.fatal is not None or self._broken is not None or self._stopped()

    def _end(self) -> None:
        """Hear out what is under way, make no further request, and write what came of it."""
        self._is_over = True
        give_up = time.monotonic() + _ENDING_LASTS
        try:
            while self._lanes.under_way and time.monotonic() < give_up:
                self._hear(_LISTENS_FOR)
                if time.monotonic() - self._written_at >= _LISTENS_FOR:
                    self._write(more=False)
            self._write(more=False)
        finally:
            self._results.write()
            self._lanes.close(_LISTENS_FOR)

    def _tell(self) -> None:
        now = time.monotonic()
        counts, elapsed = self.counts, max(now - self._told_at, 0.001)
        rate = (counts.done - self._told_done) / elapsed
        self._told_at, self._told_done = now, counts.done
        overall = counts.done / max(now - self._began, 0.001)
        parts = {name: getattr(counts, name) for name in _TOLD}
        told = [
            f"{counts.sent} sent",
            *(f"{number} {name.replace('_', ' ')}" for name, number in parts.items() if number),
        ]
        if self._later:
            told.append(f"{len(self._later)} to be tried again")
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
        return error.retry_at > time.time() + LONGEST_HOLD
    return isinstance(error, ApiError) and error.code == "intercom_version_invalid"


def _without_request_id(error: IntercomError) -> str:
    return error.summary if isinstance(error, ApiError) else str(error)
