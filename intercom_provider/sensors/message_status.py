"""The sensor that waits until WhatsApp messages were delivered or failed."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from intercom_provider.api.errors import IntercomError, InvalidInputError, Problem, UnreachableError
from intercom_provider.api.settings import parse_api_version, version_reaches
from intercom_provider.api.values import as_datetime, is_literal, is_missing
from intercom_provider.compat import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    conf,
    push_before_raising,
    task_state_store,
)
from intercom_provider.delivery import Criteria, Limit, Summary, WaitFor, parse_limit
from intercom_provider.exceptions import DeliveryFailedError, IntercomRefusedError, InvalidFieldError, as_airflow_errors
from intercom_provider.links import IntercomLink, inbox_url, show_link
from intercom_provider.sources import Keys, read_message_ids, read_ruleset_id, read_sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from intercom_provider.api.client import IntercomClient
    from intercom_provider.api.settings import Settings
    from intercom_provider.looks import Glance, Look
    from intercom_provider.report import Report, Results
    from intercom_provider.sources import Row
    from intercom_provider.watch import Verdict, Wait

T = TypeVar("T")

_SOURCES: Final = ("ruleset_id", "whatsapp_message_id", "sent")
_NEEDED_VERSION: Final = "2.16"
_SHORTEST_INTERVAL: Final = 0.1
_STATE_KEY: Final = "intercom_wait"
# Airflow's own end of a deferral, far enough behind the trigger's deadline never to come first.
_BACKSTOP: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the fields ask for, once they are rendered and read."""

    ruleset_id: str | None = None
    created_after: float | None = None
    expected_count: int | None = None
    settle_for: float = 0.0
    max_pending: Limit = 0
    max_failed: Limit = 0
    keys: Keys = field(default_factory=dict)
    not_sent: tuple[Row, ...] = ()


class MessageStatusSensor(BaseSensorOperator):
    """
    Wait until WhatsApp messages were delivered or failed, reading every page of their statuses.

    Settled means that every message has reached ``wait_for`` or failed, save ``max_pending``. Whether too
    many failed is judged once they are settled or the time is over. Exactly one of ``ruleset_id``,
    ``whatsapp_message_id`` and ``sent`` says which messages. Needs API version 2.16 or later. Rests on
    https://developers.intercom.com/docs/references/rest-api/api.intercom.io/messages.

    XCom, each key on its own and there even when the task fails: ``total``, ``sent``, ``delivered``,
    ``read``, ``failed``, ``reached``, ``settled``, ``timed_out``, ``failures``,
    ``failed_whatsapp_message_ids``, ``failed_user_ids``, ``results_path``.

    :param ruleset_id: The id of a WhatsApp Outbound message that was made in Intercom (templated).
    :param whatsapp_message_id: One WhatsApp id or at most 1,000 of them (templated).
    :param sent: What senders left in XCom: ``send.output`` of single sends or batches, mapped or not (templated).
    :param wait_for: ``delivered`` (default; read counts too) or ``read``, which may never come.
    :param expected_count: How many messages there will be; None (default) when that is unknown (templated).
    :param settle_for: Seconds for which a ruleset of unknown size must not have grown (default 600).
    :param max_pending: How many may stay on their way: a number (default 0), a share between 0 and 1, None.
    :param max_failed: How many may fail: a number (default 0), a share between 0 and 1, None for any.
    :param created_after: Only a ruleset's events from then on count: a time, or None (default; templated).
    :param on_timeout: ``fail`` (default), or ``report``: success with ``timed_out`` true.
    :param results_path: A file on object storage for one JSON line a message; None (default) for none (templated).
    :param results: Which messages get a line: ``failed`` (default), ``unsettled`` or ``all``.
    :param deferrable: Whether the triggerer does the waiting (default: Airflow's ``default_deferrable``).
    :param api_version: Replaces the connection's API version (templated).
    :param intercom_conn_id: The connection (default ``intercom_default``; templated).
    :param timeout: Seconds until the wait is given up (default 86400).
    :param poke_interval: Seconds between two looks (default 60).
    :raises DeliveryFailedError: When more failed than ``max_failed`` allows; not retried.
    :raises AirflowSensorTimeout: When the time is over; not retried.
    :raises InvalidFieldError: When a field is wrong; nothing was asked.
    :raises IntercomRefusedError: When Intercom refuses (400, 401, 403); not retried.
    """

    template_fields: ClassVar[Sequence[str]] = (  # type: ignore[misc]
        "ruleset_id",
        "whatsapp_message_id",
        "sent",
        "expected_count",
        "created_after",
        "results_path",
        "api_version",
        "intercom_conn_id",
    )
    operator_extra_links = (IntercomLink(),)
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
        results: Results = "failed",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        api_version: str | None = None,
        intercom_conn_id: str = "intercom_default",
        timeout: float | timedelta = 86_400,
        poke_interval: float | timedelta = 60,
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(timeout=timeout, poke_interval=poke_interval, multiple_outputs=multiple_outputs, **kwargs)
        self.ruleset_id = ruleset_id
        self.whatsapp_message_id = whatsapp_message_id
        self.sent = sent
        self.wait_for = wait_for
        self.expected_count = expected_count
        self.settle_for = settle_for
        self.max_pending = max_pending
        self.max_failed = max_failed
        self.created_after = created_after
        self.on_timeout = on_timeout
        self.results_path = results_path
        self.results = results
        self.deferrable = deferrable
        self.api_version = api_version
        self.intercom_conn_id = intercom_conn_id
        # Even somebody who asks for no pause gets one.
        self.poke_interval = max(self.poke_interval, _SHORTEST_INTERVAL)
        self._deadline: float | None = None
        self._wait: Wait | None = None
        self._link_is_shown = False
        self._plan = _Plan()
        self._read_fields(parsing=True)

    def execute(self, context: Context) -> Any:
        """
        Look once, then wait in the way that was asked for.

        :param context: The task's context.
        :return: The summary, key by key.
        """
        self._deadline = self._first_moment(context) + self.timeout
        if not self.deferrable:
            return super().execute(context)
        with self._skipped_when_asked():
            outcome = self._look(context, self._begin(context))
        return outcome if outcome is not None else self._defer()

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Go on where the trigger ended: take a full look, and judge or wait on.

        :param context: The task's context.
        :param event: The trigger's event.
        :return: The summary, key by key.
        """
        wait = self._begin(context)
        try:
            wait.resume(event["state"])
            status = event["status"]
        except (TypeError, KeyError, ValueError) as error:
            raise AirflowException(
                f"{wait.watch}: the trigger's event makes no sense ({error!r}); look again"
            ) from None
        if status == "deadline":
            # The triggerer's clock may be ahead of this one; its word ends the wait, or the two would go on for ever.
            wait.deadline = min(wait.deadline, time.time())
        with self._skipped_when_asked():
            if status == "error":
                kind = UnreachableError if event.get("transient") else IntercomRefusedError
                raise kind(str(event.get("message", "the trigger failed")))
            if status not in ("settled", "deadline"):
                raise AirflowException(f"{wait.watch}: the trigger's event has an unknown status; look again")
            outcome = self._look(context, wait, full=True)
        return outcome if outcome is not None else self._defer()

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Look once.

        :param context: The task's context.
        :return: False to wait on; or done, with the summary.
        """
        wait = self._wait or self._begin(context)
        store = task_state_store(context) if self.reschedule else None
        key = f"{_STATE_KEY}/{context['ti'].try_number}" if store else ""
        if store and (state := store.get(key)):
            deadline = wait.deadline
            try:
                wait.resume(state)
            except ValueError as error:
                self.log.warning("%s: what the look before knew is lost: %s", wait.watch, error)
            wait.deadline = deadline
        outcome = self._look(context, wait)
        if store:
            store.set(key, wait.state())
            if outcome is None and wait.is_due(time.time()):
                # The time passed while the state was written: Airflow would end the wait now, without a report.
                outcome = self._look(context, wait)
        return False if outcome is None else PokeReturnValue(is_done=True, xcom_value=outcome)

    def _first_moment(self, context: Context) -> float:
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule and not self.deferrable else None
        return first.timestamp() if first else time.time()

    def _begin(self, context: Context) -> Wait:
        from intercom_provider.looks import Watch  # noqa: PLC0415 - not when a DAG is parsed
        from intercom_provider.watch import Wait  # noqa: PLC0415

        plan = self._plan = self._read_fields()
        count = plan.expected_count
        if plan.ruleset_id is None:
            count = max(count or 0, len(plan.keys) + len(plan.not_sent))
        elif count is None and self.reschedule and not self.deferrable and task_state_store(context) is None:
            raise InvalidFieldError(
                "expected_count: in reschedule mode before Airflow 3.3 nothing remembers since when a ruleset has not "
                "grown: give expected_count, or use deferrable=True"
            )
        failed = sum(row["status"] == "failed" for row in plan.not_sent)
        deadline = time.time() + self.timeout if self._deadline is None else self._deadline
        self._wait = Wait(
            watch=Watch(
                ruleset_id=plan.ruleset_id,
                created_after=plan.created_after,
                whatsapp_message_ids=tuple(plan.keys),
                refused=failed,
                untraceable=len(plan.not_sent) - failed,
            ),
            criteria=Criteria(
                wait_for=self.wait_for,
                expected_count=count,
                settle_for=plan.settle_for,
                max_pending=plan.max_pending,
                max_failed=plan.max_failed,
            ),
            started=deadline - self.timeout,
            deadline=deadline,
        )
        return self._wait

    def _look(self, context: Context, wait: Wait, *, full: bool = False, once_more: bool = False) -> Row | None:
        from intercom_provider.hooks.intercom import IntercomHook  # noqa: PLC0415 - not when a DAG is parsed
        from intercom_provider.looks import Look  # noqa: PLC0415
        from intercom_provider.report import Report  # noqa: PLC0415

        plan = self._plan
        hook = IntercomHook(self.intercom_conn_id, api_version=self.api_version)
        report = Report(
            wait_for=self.wait_for,
            results=None if is_missing(self.results_path) else self.results,
            keys=plan.keys,
            not_sent=plan.not_sent,
        )
        found: Look | Glance | None = None
        with as_airflow_errors(), report, hook.get_conn() as client:
            _version(hook.settings.api_version)
            self._show_link(context, hook.settings)
            started = time.time()
            if started < wait.not_before and not wait.is_due(started):
                self.log.info("%s: Intercom asked to wait for %.0f s", wait.watch, wait.not_before - started)
                return None
            try:
                found = client.run(wait.look(started, report.see, details=report.wants, full=full))
            except IntercomError as error:
                verdict = wait.stumbled(error, time.time(), self._failed_looks_allowed)
            else:
                verdict = wait.took(found, time.time())
                self.log.info("%s", wait.progress(found, time.time()))
            if verdict == "wait":
                return None
            look = found if isinstance(found, Look) else None
            if verdict == "deadline" and look is None and not wait.is_due(started):
                # The deadline cut this look short; now comes the last one, which it does not.
                return self._look(context, wait)
            if verdict == "deadline" and once_more and look is None:
                return None
            if verdict == "deadline" and look is not None and not wait.believed and not once_more:
                # What the last look saw may have changed while it was read; another one decides, if it can.
                outcome = self._look(context, wait, once_more=True)
                if outcome is not None:
                    return outcome
            return self._conclude(context, wait, verdict, look, report, client)

    def _show_link(self, context: Context, settings: Settings) -> None:
        if not self._link_is_shown:
            show_link(context, inbox_url(settings))
            self._link_is_shown = True

    def _conclude(
        self, context: Context, wait: Wait, verdict: Verdict, look: Look | None, report: Report, client: IntercomClient
    ) -> Row:
        summary = wait.last
        if summary is None:
            raise AirflowSensorTimeout(f"{wait.watch}: not one look succeeded within {self.timeout:.0f} s")
        values: Row = {
            **asdict(summary),
            "reached": summary.reached,
            "settled": verdict == "settled",
            "timed_out": verdict == "deadline",
            "failures": [],
            "failed_whatsapp_message_ids": None,
            "failed_user_ids": None,
            "results_path": None,
        }
        if look is None:
            unwritten = None
            self.log.warning("%s: the last look failed; what is reported is what the one before saw", wait.watch)
        else:
            values |= report.outcome(look, client)
            unwritten = self._write(report, look, values)
        if wait.criteria.too_many_failed(summary):
            push_before_raising(self, context, values)
            raise DeliveryFailedError(_failed(wait, summary, values))
        if verdict == "deadline" and self.on_timeout == "fail":
            push_before_raising(self, context, values)
            raise AirflowSensorTimeout(
                f"{wait.watch}: not settled within {self.timeout:.0f} s: {wait.criteria.progress(summary)}"
            )
        if unwritten is not None:
            push_before_raising(self, context, values)
            raise unwritten
        return values

    def _write(self, report: Report, look: Look, values: Row) -> InvalidFieldError | None:
        """Write the rows that were asked for; what keeps them from being written must not cost the counts."""
        from intercom_provider.report import write_rows  # noqa: PLC0415 - not when a DAG is parsed

        if is_missing(self.results_path):
            return None
        path = str(self.results_path)
        try:
            written = write_rows(report.rows(look), path)
        except Exception as error:
            self.log.exception("The rows could not be written to %s", path)
            return InvalidFieldError(f"results_path: {path} cannot be written ({type(error).__name__}: {error})")
        self.log.info("%d rows (%s) written to %s", written, self.results, path)
        values["results_path"] = path
        return None

    def _defer(self) -> None:
        from intercom_provider.triggers.message_status import MessageStatusTrigger  # noqa: PLC0415

        wait = self._wait
        assert wait is not None  # noqa: S101 - every caller has begun the wait
        self.defer(
            trigger=MessageStatusTrigger(
                intercom_conn_id=self.intercom_conn_id,
                api_version=None if is_missing(self.api_version) else self.api_version,
                watch=asdict(wait.watch) | {"whatsapp_message_ids": list(wait.watch.whatsapp_message_ids)},
                criteria=asdict(wait.criteria),
                state=wait.state(),
                poke_interval=self.poke_interval,
                exponential_backoff=self.exponential_backoff,
                max_wait=self.max_wait.total_seconds() if self.max_wait else None,
                failed_looks_allowed=self._failed_looks_allowed,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=max(0.0, wait.deadline - time.time())) + _BACKSTOP,
        )

    @property
    def _failed_looks_allowed(self) -> int | None:
        from intercom_provider.watch import FAILED_LOOKS_ALLOWED  # noqa: PLC0415 - not when a DAG is parsed

        return None if self.silent_fail else FAILED_LOOKS_ALLOWED

    @contextmanager
    def _skipped_when_asked(self) -> Iterator[None]:
        """Do for a deferred wait what Airflow's base class does for the other modes."""
        try:
            yield
        except AirflowSkipException:
            raise
        except (AirflowFailException, AirflowSensorTimeout, AirflowTaskTimeout) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipped instead of failed: {error}") from error
            raise
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException(f"Skipped instead of failed: {error}") from error
            raise

    def _read_fields(self, *, parsing: bool = False) -> _Plan:
        """Read every field, collecting all that is wrong; while a DAG is parsed, only what is literal."""
        problems: list[Problem] = []

        def take(name: str, read: Callable[[Any], T]) -> T | None:
            value = getattr(self, name)
            if parsing and not is_literal(value):
                return None
            try:
                return read(value)
            except InvalidInputError as error:
                problems.extend(error.problems)
                return None

        given = [name for name in _SOURCES if not is_missing(getattr(self, name))]
        if len(given) != 1:
            found = f"there are {' and '.join(given)}" if given else "none is there, or it rendered to nothing"
            problems.append(Problem(", ".join(_SOURCES), f"exactly one of them says which messages to watch; {found}"))
        _choose(problems, "wait_for", self.wait_for, ("delivered", "read"))
        _choose(problems, "on_timeout", self.on_timeout, ("fail", "report"))
        _choose(problems, "results", self.results, ("failed", "unsettled", "all"))
        take("results_path", _file)
        take("api_version", _version)
        ruleset_id = take("ruleset_id", read_ruleset_id)
        messages = take("whatsapp_message_id", read_message_ids) or {}
        traced, not_sent = take("sent", lambda value: read_sent(value, parsing=parsing)) or ({}, ())
        plan = _Plan(
            ruleset_id=ruleset_id,
            created_after=take("created_after", _moment),
            expected_count=take("expected_count", _count),
            settle_for=take("settle_for", _seconds) or 0.0,
            max_pending=take("max_pending", lambda value: parse_limit("max_pending", value)),
            max_failed=take("max_failed", lambda value: parse_limit("max_failed", value)),
            keys={**messages, **traced},
            not_sent=not_sent,
        )
        if problems:
            raise InvalidFieldError(str(InvalidInputError(problems)))
        return plan


def _choose(problems: list[Problem], name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        problems.append(Problem(name, f"must be one of {', '.join(choices)}"))


def _seconds(value: object) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise InvalidInputError.of("settle_for", "must be seconds from 0 on, or a timedelta")
    return float(seconds)


def _version(value: object) -> None:
    if not is_missing(value) and not version_reaches(parse_api_version(value), _NEEDED_VERSION):
        raise InvalidInputError.of("api_version", f"the status of messages needs {_NEEDED_VERSION} or later")


def _file(value: object) -> None:
    if not is_missing(value) and str(value).endswith("/"):
        raise InvalidInputError.of("results_path", "names a folder: give a file, such as .../{{ run_id }}.jsonl")


def _moment(value: object) -> float | None:
    if is_missing(value):
        return None
    try:
        return as_datetime(value).timestamp()
    except ValueError:
        raise InvalidInputError.of("created_after", "is no time: give epoch seconds, a datetime or ISO text") from None


def _count(value: object) -> int | None:
    if is_missing(value):
        return None
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,12}", text):
        raise InvalidInputError.of("expected_count", "must be a whole number from 0 on")
    return int(text)


def _failed(wait: Wait, summary: Summary, values: Row) -> str:
    reasons = Counter(failure["reason"] for failure in values["failures"])
    known = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
    written = f" Written to {values['results_path']}." if values["results_path"] else ""
    return (
        f"{wait.watch}: {summary.failed} of {summary.total} failed, and max_failed allows {wait.criteria.max_failed}. "
        f"Reasons of the first {len(values['failures'])}: {known or 'not known'}.{written}"
    )
