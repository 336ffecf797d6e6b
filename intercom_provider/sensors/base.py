"""The base of this provider's sensors: the same wait, whether the worker or the triggerer does it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypedDict, TypeVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from intercom_provider.api.errors import UnreachableError
from intercom_provider.api.values import is_missing
from intercom_provider.compat import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    task_state_store,
)
from intercom_provider.exceptions import IntercomRefusedError, as_airflow_errors
from intercom_provider.fields import MIN_INTERVAL_SECONDS, read_seconds, replace_undefined
from intercom_provider.links import DeliveryLink, IntercomLink, inbox_url, show_link

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import jinja2
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from intercom_provider.api.settings import Settings
    from intercom_provider.waiting.wait import Wait

WaitT = TypeVar("WaitT", bound="Wait[Any]")

_DURATIONS: Final = ("timeout", "poke_interval", "max_wait")
_STATE_KEY: Final = "intercom_wait"
# Airflow ends a deferral by itself, without a report. So its limit has to lie well behind the trigger's deadline.
_DEFERRAL_MARGIN: Final = timedelta(minutes=5)
# The time that the last poll gets before the execution_timeout, and the same of a short one.
_MAX_LAST_POLL_SECONDS: Final = 30.0
_LAST_POLL_SHARE: Final = 0.2


class _TriggerArguments(TypedDict):
    """The arguments that all triggers have in common."""

    intercom_conn_id: str
    api_version: str | None
    poke_interval: float
    exponential_backoff: bool
    max_wait: float | None
    max_failed_polls: int | None


class WaitingSensor(BaseSensorOperator, Generic[WaitT]):
    """
    Polls until a wait is over, with the same end states in poke, reschedule and deferrable mode.

    A subclass reads its fields into a wait (:meth:`_begin`), polls it and judges the result (:meth:`_poll`), and makes
    the trigger that polls while the sensor is deferred (:meth:`_trigger`).

    :param on_timeout: ``fail``, or ``report``: success with ``timed_out`` true.
    :param deferrable: Whether the triggerer does the waiting.
    :param api_version: API version in place of the connection's; None for the connection's.
    :param intercom_conn_id: The connection.
    """

    operator_extra_links = (IntercomLink(), DeliveryLink())

    def __init__(
        self,
        *,
        on_timeout: str,
        deferrable: bool,
        api_version: str | None,
        intercom_conn_id: str,
        **kwargs: Any,
    ) -> None:
        with as_airflow_errors():
            for name in _DURATIONS:
                if kwargs.get(name) is not None:
                    read_seconds(name, kwargs[name])
        super().__init__(**kwargs)
        self.on_timeout = on_timeout
        self.deferrable = deferrable
        self.api_version = api_version
        self.intercom_conn_id = intercom_conn_id
        self._deadline: float | None = None
        self._wait: WaitT | None = None
        self._link_is_shown = False
        self._progress_failed = False

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        if parent is self:
            with as_airflow_errors():
                replace_undefined(self, jinja_env)

    def execute(self, context: Context) -> dict[str, object]:
        """
        Poll once, then wait in the sensor's mode.

        :param context: The task's context.
        :return: The values for XCom.
        """
        self._deadline = self._started_at(context) + self._max_wait_seconds
        if not self.deferrable:
            values: dict[str, object] = super().execute(context)
            return values
        with self._skip_instead_of_fail():
            wait = self._begin_wait(context)
            found = self._poll(context, wait)
        return found if found is not None else self._defer(wait)

    def execute_complete(self, context: Context, event: object = None) -> dict[str, object]:
        """
        Go on where the trigger ended: do a full poll, then judge the wait or defer again.

        :param context: The task's context.
        :param event: The trigger's event.
        :return: The values for XCom.
        """
        wait = self._begin_wait(context)
        try:
            if not isinstance(event, dict):
                raise TypeError("not an object")  # noqa: TRY301 - is turned into the error below
            status = event["status"]
            if status != "error":
                wait.resume(event["state"])
        except (TypeError, KeyError, ValueError) as error:
            raise AirflowException(f"{wait}: the trigger's event is not valid ({error!r})") from None
        if status == "deadline":
            # The triggerer's clock may be ahead of this one. If its deadline did not count here, the sensor would defer
            # again and the trigger would end at once, over and over.
            wait.deadline = min(wait.deadline, time.time())
        with self._skip_instead_of_fail():
            if status == "error":
                kind = UnreachableError if event.get("transient") else IntercomRefusedError
                raise kind(str(event.get("message", "the trigger failed")))
            if status not in ("settled", "deadline"):
                raise AirflowException(f"{wait}: the trigger's event has an unknown status")
            values = self._poll(context, wait, full=True)
        return values if values is not None else self._defer(wait)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Poll once.

        :param context: The task's context.
        :return: False to wait on, else the values for XCom.
        """
        wait = self._wait or self._begin_wait(context)
        wait.follow_clock()
        store = task_state_store(context) if self.reschedule else None
        key = f"{_STATE_KEY}/{context['ti'].try_number}" if store else ""
        if store and (state := store.get(key)):
            deadline = wait.deadline
            try:
                wait.resume(state)
            except ValueError as error:
                self.log.warning("%s: the state of the last poll cannot be read: %s", wait, error)
            wait.deadline = deadline
        values = self._poll(context, wait)
        if store:
            store.set(key, wait.state())
            if values is None and wait.deadline_passed(time.time()):
                # The deadline passed while the state was written. Airflow would end the wait now, without a report.
                values = self._poll(context, wait)
        return False if values is None else PokeReturnValue(is_done=True, xcom_value=values)

    def _started_at(self, context: Context) -> float:
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule and not self.deferrable else None
        return first.timestamp() if first else time.time()

    def _begin(self, context: Context) -> WaitT:
        """Read the fields and return a new wait."""
        raise NotImplementedError

    def _poll(self, context: Context, wait: WaitT, *, full: bool = False) -> dict[str, object] | None:
        """Poll once; return the values for XCom when the wait is over, or None to wait on."""
        raise NotImplementedError

    def _trigger(self, wait: WaitT) -> BaseTrigger:
        """Return the trigger that polls while the sensor is deferred."""
        raise NotImplementedError

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        interval = super()._get_next_poke_interval(*args, **kwargs)
        if self._wait is not None and not self.reschedule:
            # The last poll is due at the deadline, before an execution_timeout can strike between two polls.
            interval = min(interval, self._wait.deadline - time.time())
        return max(interval, MIN_INTERVAL_SECONDS)

    def _begin_wait(self, context: Context) -> WaitT:
        self._wait = wait = self._begin(context)
        return wait

    def _deadline_of_try(self) -> float:
        return time.time() + self._max_wait_seconds if self._deadline is None else self._deadline

    @property
    def _max_wait_seconds(self) -> float:
        """
        The seconds from the start to the deadline.

        In poke mode the whole wait is one execution, and Airflow ends it at ``execution_timeout`` without any XCom. So
        the deadline comes a little earlier. In the other modes each poll is an execution of its own, as it is for
        Airflow's own sensors.
        """
        if self.execution_timeout is None or self.reschedule or self.deferrable:
            return float(self.timeout)
        limit = self.execution_timeout.total_seconds()
        return min(float(self.timeout), limit - min(_MAX_LAST_POLL_SECONDS, limit * _LAST_POLL_SHARE))

    def _timed_out(self, what: str, progress: str = "") -> BaseException:
        """Return the error of a wait that timed out: that of ``timeout`` is final, Airflow retries the other."""
        seconds = self._max_wait_seconds
        text = f"{what} {seconds:.0f} s{progress and f': {progress}'}"
        if seconds < self.timeout:
            return AirflowTaskTimeout(f"{text}. The wait ended shortly before the execution_timeout")
        return AirflowSensorTimeout(text)

    def _must_pause(self, wait: WaitT, now: float) -> bool:
        """Check whether Intercom has asked to be polled later, and log that."""
        if now >= wait.not_before or wait.deadline_passed(now):
            return False
        self.log.info("%s: Intercom asked to wait for %.0f s", wait, wait.not_before - now)
        return True

    def _show_progress(self, context: Context, wait: WaitT, found: Any) -> None:
        """Log what a poll has found, and show it on the page while the wait goes on, as the trigger does."""
        self.log.info("%s", wait.progress(found, time.time()))
        if not self.do_xcom_push or self._progress_failed:
            return
        try:
            context["ti"].xcom_push(key="progress", value=wait.progress_values(found))
        except Exception as error:  # noqa: BLE001 - a wait must not end because its progress cannot be shown
            self.log.warning("the XCom progress could not be set: %s", type(error).__name__)
            self._progress_failed = True

    def _show_link(self, context: Context, settings: Settings) -> None:
        if not self._link_is_shown:
            show_link(context, inbox_url(settings))
            self._link_is_shown = True

    def _defer(self, wait: WaitT) -> NoReturn:
        self.defer(
            trigger=self._trigger(wait),
            method_name="execute_complete",
            timeout=timedelta(seconds=max(0.0, wait.deadline - time.time())) + _DEFERRAL_MARGIN,
        )

    def _trigger_arguments(self) -> _TriggerArguments:
        """Return the trigger's arguments apart from what it waits for."""
        return {
            "intercom_conn_id": self.intercom_conn_id,
            "api_version": None if is_missing(self.api_version) else self.api_version,
            "poke_interval": self.poke_interval,
            "exponential_backoff": self.exponential_backoff,
            "max_wait": self.max_wait.total_seconds() if self.max_wait else None,
            "max_failed_polls": self._max_failed_polls,
        }

    @property
    def _max_failed_polls(self) -> int | None:
        from intercom_provider.waiting.wait import MAX_FAILED_POLLS

        return None if self.silent_fail else MAX_FAILED_POLLS

    @contextmanager
    def _skip_instead_of_fail(self) -> Iterator[None]:
        """Apply ``soft_fail`` and ``never_fail``, as Airflow's base class does in the other modes."""
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
