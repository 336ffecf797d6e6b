"""The sensor that waits until WhatsApp messages were delivered or failed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, TypeVar

from intercom_provider.api.errors import IntercomError, InvalidInputError, Problem
from intercom_provider.api.values import is_missing
from intercom_provider.compat import (
    add_to_outlet_events,
    conf,
    push_before_raising,
    task_state_store,
)
from intercom_provider.exceptions import DeliveryFailedError, InvalidFieldError, as_airflow_errors
from intercom_provider.fields import (
    Limit,
    WaitFor,
    check_choice,
    check_status_version,
    is_path,
    is_untemplated,
    parse_limit,
    read_created_after,
    read_expected_count,
    read_seconds,
    source_tasks,
)
from intercom_provider.sensors.base import WaitingSensor
from intercom_provider.waiting.sent import Sent, read_message_ids, read_ruleset_id, read_sent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from airflow.sdk import Context

    from intercom_provider.api.client import IntercomClient
    from intercom_provider.ledger.delivery_log import DeliveryLog
    from intercom_provider.triggers.message_status import MessageStatusTrigger
    from intercom_provider.waiting.delivery_wait import DeliveryWait
    from intercom_provider.waiting.poll import FullPoll, PartialPoll
    from intercom_provider.waiting.report import Report, ResultsFilter
    from intercom_provider.waiting.sent import Row
    from intercom_provider.waiting.statuses import Summary
    from intercom_provider.waiting.wait import Verdict

T = TypeVar("T")

_TARGET_FIELDS: Final = ("ruleset_id", "whatsapp_message_id", "sent")


class _Plan(NamedTuple):
    """The values of the fields, once these are rendered and read."""

    ruleset_id: str | None = None
    created_after: float | None = None
    expected_count: int | None = None
    settle_for: float = 0.0
    max_pending: Limit = 0
    max_failed: Limit = 0
    sent: Sent = Sent()


class MessageStatusSensor(WaitingSensor["DeliveryWait"]):
    """
    Wait until WhatsApp messages were delivered or failed.

    The wait is settled when every message has reached ``wait_for`` or failed; up to ``max_pending`` may still be on
    their way. Whether too many have failed is judged once it is settled, or when it times out. Exactly one of
    ``ruleset_id``, ``whatsapp_message_id`` and ``sent`` names the messages. Needs API version 2.16 or later. Uses
    https://developers.intercom.com/docs/references/rest-api/api.intercom.io/messages.

    XCom, one key each, also when the task fails: ``total``, and ``reached``, ``pending`` and ``failed``, which add up
    to it; ``delivered``, ``read``, ``settled``, ``timed_out``, ``failures``, ``failed_whatsapp_message_ids``,
    ``failed_keys``, ``failed_user_ids``, ``results_path``.

    :param ruleset_id: The id of a WhatsApp Outbound message that was made in Intercom (templated).
    :param whatsapp_message_id: One WhatsApp id or at most 1,000 of them (templated).
    :param sent: Messages that senders left in XCom: ``send.output`` of single sends or batches (templated).
    :param wait_for: ``delivered`` (default; read counts too) or ``read``, which may never come.
    :param expected_count: How many messages there will be; None (default) when that is unknown (templated).
    :param settle_for: Seconds for which a ruleset of unknown size must not have grown (default 600).
    :param max_pending: How many may be pending: a number (default 0), a share between 0 and 1, None for any.
    :param max_failed: How many may fail: a number (default 0), a share between 0 and 1, None for any.
    :param created_after: Only a ruleset's events from then on count: a time, or None (default; templated).
    :param on_timeout: ``fail`` (default), or ``report``: success with ``timed_out`` true.
    :param results_path: A file on object storage for one JSON line a message; None (default) for none (templated).
    :param results: Which messages get a line: ``failed`` (default), ``pending``, ``not_reached``
        (both) or ``all``.
    :param ledger_conn_id: The connection of the ledger into which the statuses of single messages are written in the
        end; None (default) for ``[intercom] ledger_conn_id`` (templated).
    :param deferrable: Whether the triggerer does the waiting (default: Airflow's ``default_deferrable``).
    :param api_version: API version in place of the connection's (templated).
    :param intercom_conn_id: The connection (default ``intercom_default``; templated).
    :param timeout: Seconds until the wait times out (default 86400).
    :param poke_interval: Seconds between two polls (default 60).
    :param multiple_outputs: Whether each XCom key is pushed on its own (default True).
    :raises DeliveryFailedError: When more failed than ``max_failed`` allows; not retried.
    :raises AirflowSensorTimeout: When the wait times out; not retried.
    :raises InvalidFieldError: When a field is wrong; no request was made.
    :raises IntercomRefusedError: When Intercom refuses (400, 401, 403); not retried.
    """

    template_fields: ClassVar[Sequence[str]] = (  # type: ignore[misc]
        "ruleset_id",
        "whatsapp_message_id",
        "sent",
        "expected_count",
        "created_after",
        "results_path",
        "ledger_conn_id",
        "api_version",
        "intercom_conn_id",
    )
    ui_color = "#e8f5e9"

    def __init__(
        self,
        *,
        ruleset_id: str | int | None = None,
        whatsapp_message_id: str | Sequence[str] | None = None,
        sent: Any = None,
        wait_for: WaitFor = "delivered",
        expected_count: int | None = None,
        settle_for: float | timedelta = 600,
        max_pending: Limit = 0,
        max_failed: Limit = 0,
        created_after: float | str | datetime | None = None,
        on_timeout: Literal["fail", "report"] = "fail",
        results_path: str | None = None,
        results: ResultsFilter = "failed",
        ledger_conn_id: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        api_version: str | None = None,
        intercom_conn_id: str = "intercom_default",
        timeout: float | timedelta = 86_400,
        poke_interval: float | timedelta = 60,
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            on_timeout=on_timeout,
            deferrable=deferrable,
            api_version=api_version,
            intercom_conn_id=intercom_conn_id,
            timeout=timeout,
            poke_interval=poke_interval,
            multiple_outputs=multiple_outputs,
            **kwargs,
        )
        self.ruleset_id = ruleset_id
        self.whatsapp_message_id = whatsapp_message_id
        self.sent = sent
        self.wait_for = wait_for
        self.expected_count = expected_count
        self.settle_for = settle_for
        self.max_pending = max_pending
        self.max_failed = max_failed
        self.created_after = created_after
        self.results_path = results_path
        self.results = results
        self.ledger_conn_id = ledger_conn_id
        self._plan = _Plan()
        self._source_tasks = {name: source_tasks(getattr(self, name)) for name in _TARGET_FIELDS}
        self._read_fields(parsing=True)

    def _begin(self, context: Context) -> DeliveryWait:
        from intercom_provider.waiting.criteria import Criteria
        from intercom_provider.waiting.delivery_wait import DeliveryWait
        from intercom_provider.waiting.target import MessagesTarget, RulesetTarget, Target

        plan = self._plan = self._read_fields()
        sent, count = plan.sent, plan.expected_count
        target: Target
        if plan.ruleset_id is None:
            target = MessagesTarget(sent.ids, never_sent=sent.never_sent, untrackable=sent.untrackable)
            count = max(count or 0, target.total)
        else:
            target = RulesetTarget(plan.ruleset_id, plan.created_after)
            if count is None and self.reschedule and not self.deferrable and task_state_store(context) is None:
                raise InvalidFieldError(
                    "expected_count: is needed in reschedule mode before Airflow 3.3, which cannot store since when a "
                    "ruleset has not grown; give expected_count, or use deferrable=True"
                )
        deadline = self._deadline_of_try()
        return DeliveryWait(
            target=target,
            criteria=Criteria(
                wait_for=self.wait_for,
                expected_count=count,
                settle_for=plan.settle_for,
                max_pending=plan.max_pending,
                max_failed=plan.max_failed,
            ),
            started=deadline - self._max_wait_seconds,
            deadline=deadline,
        )

    def _poll(self, context: Context, wait: DeliveryWait, *, full: bool = False, once_more: bool = False) -> Row | None:
        from intercom_provider.hooks.intercom import IntercomHook
        from intercom_provider.waiting.poll import FullPoll
        from intercom_provider.waiting.report import Report

        plan = self._plan
        hook = IntercomHook(self.intercom_conn_id, api_version=self.api_version)
        report = Report(
            wait_for=self.wait_for,
            results=None if is_missing(self.results_path) else self.results,
            keys=plan.sent.keys,
            rows_without_id=plan.sent.rows_without_id,
            delivery_log=self._delivery_log(wait),
        )
        found: FullPoll | PartialPoll | None = None
        with as_airflow_errors(), report, hook.get_conn() as client:
            check_status_version(hook.settings.api_version)
            self._show_link(context, hook.settings)
            started = time.time()
            if self._must_pause(wait, started):
                return None
            try:
                found = client.run(wait.poll(started, report, full=full))
            except IntercomError as error:
                verdict = wait.poll_failed(error, time.time(), self._max_failed_polls)
            else:
                verdict = wait.update(found, time.time())
                self._show_progress(context, wait, found)
            if verdict == "wait":
                return None
            poll = found if isinstance(found, FullPoll) else None
            if verdict == "deadline" and poll is None and not wait.deadline_passed(started):
                # The deadline cut this poll short. It does not cut the last one short, which begins now.
                return self._poll(context, wait)
            if verdict == "deadline" and once_more and poll is None:
                return None
            if verdict == "deadline" and poll is not None and not wait.is_consistent and not once_more:
                # The list may have changed while the last poll read it, so poll again before judging.
                values = self._poll(context, wait, once_more=True)
                if values is not None:
                    return values
            return self._conclude(context, wait, verdict, poll, report, client)

    def _conclude(
        self,
        context: Context,
        wait: DeliveryWait,
        verdict: Verdict,
        poll: FullPoll | None,
        report: Report,
        client: IntercomClient,
    ) -> Row:
        summary = wait.summary
        if summary is None:
            raise self._timed_out(f"{wait.target}: no poll succeeded within")
        values: Row = {
            **wait.criteria.counts(summary),
            "settled": verdict == "settled",
            "timed_out": verdict == "deadline",
            "failures": [],
            "failed_whatsapp_message_ids": None,
            "failed_keys": None,
            "failed_user_ids": None,
            "results_path": None,
        }
        if poll is None:
            write_error = None
            self.log.warning("%s: the last poll failed; the report is that of the poll before", wait.target)
        else:
            values |= report.failure_summary(poll, client)
            report.write_deliveries()
            write_error = self._write(report, poll, values)
        if wait.criteria.too_many_failed(summary):
            push_before_raising(self, context, values)
            raise DeliveryFailedError(_failed(wait, summary, values))
        if verdict == "deadline" and self.on_timeout == "fail":
            push_before_raising(self, context, values)
            raise self._timed_out(f"{wait.target}: not settled within", wait.criteria.progress(summary))
        if write_error is not None:
            push_before_raising(self, context, values)
            raise write_error
        counts = wait.criteria.counts(summary)
        add_to_outlet_events(self, context, {**counts, "settled": values["settled"], "timed_out": values["timed_out"]})
        return values

    def _delivery_log(self, wait: DeliveryWait) -> DeliveryLog | None:
        """Return the log of single messages' statuses; a ruleset's messages are in no ledger."""
        from intercom_provider.ledger.configuration import ledger_connection

        conn_id = ledger_connection(self.ledger_conn_id)
        if conn_id is None or wait.target.ruleset_id is not None:
            return None
        from intercom_provider.ledger.delivery_log import DeliveryLog

        return DeliveryLog(conn_id)

    def _write(self, report: Report, poll: FullPoll, values: Row) -> InvalidFieldError | None:
        """Write the results; return the error, because the counts have to be pushed before it is raised."""
        from intercom_provider.waiting.report import write_rows

        if is_missing(self.results_path):
            return None
        path = str(self.results_path)
        try:
            written = write_rows(report.rows(poll), path)
        except Exception as error:
            self.log.exception("The results could not be written to %s", path)
            return InvalidFieldError(f"results_path: {path} cannot be written ({type(error).__name__}: {error})")
        self.log.info("%d rows (%s) written to %s", written, self.results, path)
        values["results_path"] = path
        return None

    def _trigger(self, wait: DeliveryWait) -> MessageStatusTrigger:
        from intercom_provider.triggers.message_status import MessageStatusTrigger

        return MessageStatusTrigger(
            target=wait.target.arguments(),
            criteria=asdict(wait.criteria),
            state=wait.state(),
            **self._trigger_arguments(),
        )

    def _read_fields(self, *, parsing: bool = False) -> _Plan:
        """Read all fields and report all problems at once; while a DAG is parsed, skip templates."""
        problems: list[Problem] = []

        def take(name: str, read: Callable[[Any], T]) -> T | None:
            value = getattr(self, name)
            if parsing and not is_untemplated(value):
                return None
            try:
                return read(value)
            except InvalidInputError as error:
                problems.extend(error.problems)
                return None

        given = [name for name in _TARGET_FIELDS if not is_missing(getattr(self, name))]
        if len(given) != 1:
            problems.append(self._explain_target(given))
        check_choice(problems, "wait_for", self.wait_for, ("delivered", "read"))
        check_choice(problems, "on_timeout", self.on_timeout, ("fail", "report"))
        check_choice(problems, "results", self.results, ("failed", "pending", "not_reached", "all"))
        take("results_path", _file)
        take("api_version", check_status_version)
        ruleset_id = take("ruleset_id", read_ruleset_id)
        messages = take("whatsapp_message_id", read_message_ids) or {}
        sent = take("sent", lambda value: read_sent(value, parsing=parsing))
        plan = _Plan(
            ruleset_id=ruleset_id,
            created_after=take("created_after", read_created_after),
            expected_count=take("expected_count", read_expected_count),
            settle_for=take("settle_for", lambda value: read_seconds("settle_for", value)) or 0.0,
            max_pending=take("max_pending", lambda value: parse_limit("max_pending", value)),
            max_failed=take("max_failed", lambda value: parse_limit("max_failed", value)),
            sent=Sent(tuple(messages), messages) if messages else sent or Sent(),
        )
        if problems:
            raise InvalidFieldError(str(InvalidInputError(problems)))
        return plan

    def _explain_target(self, given: Sequence[str]) -> Problem:
        tasks = next((each for each in self._source_tasks.items() if each[1]), None)
        if given or tasks is None:
            found = f"there are {' and '.join(given)}" if given else "there is none, or it rendered to nothing"
            return Problem(", ".join(_TARGET_FIELDS), f"exactly one of them has to be given; {found}")
        return Problem(
            tasks[0],
            f"there is nothing in the XCom of {', '.join(tasks[1])}. Was it marked as success or skipped before it had "
            "sent? Then clear it",
        )


def _file(value: object) -> None:
    if is_missing(value):
        return
    if not is_path(value):
        raise InvalidInputError.of("results_path", "must be the path or URI of a file")
    if str(value).endswith("/"):
        raise InvalidInputError.of("results_path", "names a folder: give a file, such as .../{{ run_id }}.jsonl")


def _failed(wait: DeliveryWait, summary: Summary, values: Row) -> str:
    reasons = Counter(failure["reason"] for failure in values["failures"])
    known = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
    written = f" Written to {values['results_path']}." if values["results_path"] else ""
    return (
        f"{wait.target}: {summary.failed} of {summary.total} failed, and max_failed allows {wait.criteria.max_failed}. "
        f"Reasons of the first {len(values['failures'])}: {known or 'not known'}.{written}"
    )
