"""
Run a try of a batch whose messages wait for their windows: in legs, between which the task sleeps or is deferred.

A leg sends what may go out now. What the try has done so far stands in XCom while no worker holds it: Airflow keeps it
over a deferral and deletes it with a new try, which begins anew and goes by the ledger. An input that has become
another one in the meantime ends the try, because its counts and results would mix two lists; so does a lost record.
A ledger that has become another one ends the task, because a retry would go by a ledger that knows of nothing.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict, Unpack

from intercom_provider.api.errors import InvalidInputError, StoppedError
from intercom_provider.compat import (
    AirflowException,
    AirflowFailException,
    AirflowTaskTimeout,
    TaskDeferred,
    push_before_raising,
)
from intercom_provider.results.writer import ResultsWriter
from intercom_provider.sending.batch.recorder import Recorder
from intercom_provider.sending.batch.run import BatchRun
from intercom_provider.sending.batch.try_record import TryRecord
from intercom_provider.sending.window import sleep_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from airflow.sdk import BaseOperator, Context

    from intercom_provider.api.message import Message
    from intercom_provider.api.settings import Settings
    from intercom_provider.ledger.ledger import Ledger
    from intercom_provider.sending.batch.input import BatchInput, Item
    from intercom_provider.sending.batch.window import BatchWindow
    from intercom_provider.sending.options import SendOptions

log = logging.getLogger(__name__)

XCOM_KEY: Final = "waiting"
"""The XCom with what a deferred try has done so far, and when it goes on."""

PROGRESS_XCOM_KEY: Final = "progress"
"""The XCom with the counts of a try that runs, for people to see."""


class BatchRunOptions(TypedDict):
    """What all legs of a try have in common; see :class:`BatchRun`."""

    settings: Settings
    options: SendOptions
    ledger: Ledger
    stopped: Callable[[], bool]
    reason_to_suppress: Callable[[Message], str | None]
    window: BatchWindow | None


class Legs:
    """
    The legs of one try, from its begin or from where it was deferred.

    :param context: The task's context.
    :param batch: The messages, checked.
    :param total: How many there are.
    :param is_resumed: Whether the try was deferred before.
    :param results: The writer of the results; it is opened here.
    :param send: As :class:`BatchRun` takes it: settings, options, ledger, stopped, reason_to_suppress, window.
    :raises AirflowException: When the try cannot go on where it was deferred; a new one can.
    :raises AirflowFailException: When the ledger is another one than before the deferral.
    :raises InvalidInputError: When the folder of the results cannot be used.
    """

    def __init__(
        self,
        context: Context,
        batch: BatchInput,
        total: int,
        *,
        is_resumed: bool,
        results: ResultsWriter,
        **send: Unpack[BatchRunOptions],
    ) -> None:
        self._ti: Any = context["ti"]
        self._batch = batch
        self._is_resumed = is_resumed
        self._results = results
        self._send = send
        self._run: BatchRun | None = None
        self.record = TryRecord(total, batch.fingerprint)
        """What the try has done so far."""

        if not is_resumed:
            results.open()
            return
        try:
            waiting = _read_waiting(context)
            if waiting is None:
                raise ValueError(f"its XCom {XCOM_KEY} is gone")  # noqa: TRY301 - one sentence for all three causes
            if waiting.ledger != _digest(send["ledger"]):
                raise AirflowFailException(
                    "The batch cannot go on where it waited for its window, because its ledger is another one now: "
                    "campaign or ledger_conn_id has changed, maybe in a template with the time. Nothing more was sent, "
                    "and Airflow does not retry, as that would send again to everybody. Let both stay the same over a "
                    "run, as {{ ds }} and {{ run_id }} do, and set them as they were before you clear the task"
                )
            waiting.record.check_input(total, batch.fingerprint)
        except ValueError as error:
            raise AirflowException(
                f"The try cannot go on where it waited for its window: {error}. Nothing more was sent. A retry, or the "
                "task cleared, goes on from the ledger, and sends nothing twice unless repeat allows it"
            ) from None
        self.record = waiting.record
        results.resume(waiting.results)

    @property
    def fatal(self) -> Exception | None:
        """The error that stopped the batch before its end; None when it came to its end."""
        return None if self._run is None else self._run.fatal

    @property
    def rest(self) -> Iterator[Item]:
        """The messages that have no outcome yet."""
        return (item for item in self._batch if not self.record.has(item.index))

    def run(self) -> datetime | None:
        """
        Send what may go out, and sleep where a window opens within a minute.

        :return: When the task should go on; None when the batch has ended.
        :raises StoppedError: When the task was told to stop.
        :raises SupersededError: When another attempt of the same task has taken over.
        """
        if self._is_resumed:
            self._ti.xcom_push(key=XCOM_KEY, value=None)
        while True:
            run = BatchRun(
                self._batch,
                self.record.counts.total,
                results=self._results,
                record=self.record,
                publish=self._publish,
                **self._send,
            )
            self._run = run
            run.run()
            if run.opens_at is None:
                return None
            opens_at = run.opens_at.isoformat(timespec="seconds")
            log.info("%d messages wait for their window; the first one opens at %s", run.waiting, opens_at)
            if not sleep_until(run.opens_at, self._send["stopped"]):
                return run.opens_at

    def _publish(self, counts: Mapping[str, float]) -> None:
        if self._ti.task.do_xcom_push:
            self._ti.xcom_push(key=PROGRESS_XCOM_KEY, value=dict(counts))

    def end(self) -> None:
        """Count what still waits as not sent, after an error."""
        if self._run is not None and self._run.opens_at is not None:
            self._run.end()

    def suspend(self, opens_at: datetime) -> None:
        """
        Keep what the try has done so far, before the task is deferred.

        :param opens_at: When it goes on.
        :raises StoppedError: When the task was told to stop.
        """
        results = self._results.suspend(self._send["stopped"])
        if self._send["stopped"]():
            raise StoppedError("the task was told to stop before it was deferred; what waits was not sent")
        value = {
            "opens_at": opens_at.isoformat(timespec="seconds"),
            "messages": self.record.counts.total - self.record.counts.done,
            "try": self._ti.try_number,
            "results": results,
            "record": self.record.pack(),
            "ledger": _digest(self._send["ledger"]),
        }
        self._ti.xcom_push(key=XCOM_KEY, value=value)


@contextmanager
def count_waiting(operator: BaseOperator, context: Context, may_wait: object) -> Iterator[None]:
    """
    Count what waits for its window as not sent, when the try ends with an error before it goes on.

    :param operator: The operator.
    :param context: The task's context.
    :param may_wait: Whether messages of this try may wait.
    """
    try:
        yield
    except TaskDeferred:
        raise
    except BaseException as error:
        try:
            waiting = _read_waiting(context) if may_wait else None
            if waiting is not None:
                # A storage that hangs may be why the time is up, and there is no second time-out.
                _end_waiting(waiting, operator, context, asks_storage=not isinstance(error, AirflowTaskTimeout))
        except Exception:
            # Why the try has ended matters more, and decides whether Airflow retries.
            log.exception("What waited for its window could not be counted")
        raise


class _Waiting(NamedTuple):
    record: TryRecord
    results: dict[str, Any]
    ledger: str


def _read_waiting(context: Context) -> _Waiting | None:
    """Read what this try has left in XCom; None where it is not there, or of another try."""
    ti: Any = context["ti"]
    kept = ti.xcom_pull(task_ids=ti.task_id, key=XCOM_KEY, map_indexes=ti.map_index)
    if not isinstance(kept, dict) or kept.get("try") != ti.try_number:
        return None
    results = kept.get("results")
    if not isinstance(results, dict):
        raise ValueError("it cannot be read")  # noqa: TRY004 - as a record that is broken
    return _Waiting(TryRecord.unpack(kept.get("record")), results, str(kept.get("ledger")))


def _digest(ledger: Ledger) -> str:
    """Return what tells a ledger and its scope from another one, without the salt itself."""
    return blake2b(ledger.salt.encode(), digest_size=16).hexdigest()


def _end_waiting(waiting: _Waiting, operator: BaseOperator, context: Context, *, asks_storage: bool) -> None:
    counts, results = waiting.record.counts, ResultsWriter(None, 1)
    Recorder(waiting.record, results, may_resend=False).count_rest()
    log.error("The batch ended while messages waited for their window: %s of %d", counts.in_words(), counts.total)
    if asks_storage:
        try:
            results.resume(waiting.results)
            results.close()
        except InvalidInputError:
            results.failed = True
    push_before_raising(operator, context, {**counts.values(), **results.values()})
    context["ti"].xcom_push(key=XCOM_KEY, value=None)
