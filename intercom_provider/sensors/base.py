"""What every sensor of this provider does alike, whoever does the waiting: worker or triggerer."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

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
from intercom_provider.exceptions import IntercomRefusedError
from intercom_provider.links import IntercomLink, inbox_url, show_link

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from intercom_provider.api.settings import Settings
    from intercom_provider.waiting.wait import Wait

_SHORTEST_INTERVAL: Final = 0.1
_STATE_KEY: Final = "intercom_wait"
# Airflow's own end of a deferral, far enough behind the trigger's deadline never to come first.
_DEFERRAL_MARGIN: Final = timedelta(minutes=5)


class WaitingSensor(BaseSensorOperator):
    """
    Looks until a wait is over: with the same end in poke, reschedule and deferrable mode.

    A sensor says what it waits for (:meth:`_begin`), how it looks and what comes of it (:meth:`_poll`), and which
    trigger looks in the meantime (:meth:`_trigger`).

    :param on_timeout: ``fail``, or ``report``: success with ``timed_out`` true.
    :param deferrable: Whether the triggerer does the waiting.
    :param api_version: Replaces the connection's API version; None for the connection's.
    :param intercom_conn_id: The connection.
    """

    operator_extra_links = (IntercomLink(),)

    def __init__(
        self,
        *,
        on_timeout: str,
        deferrable: bool,
        api_version: str | None,
        intercom_conn_id: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.on_timeout = on_timeout
        self.deferrable = deferrable
        self.api_version = api_version
        self.intercom_conn_id = intercom_conn_id
        # Even somebody who asks for no pause gets one.
        self.poke_interval = max(self.poke_interval, _SHORTEST_INTERVAL)
        self._deadline: float | None = None
        self._wait: Wait | None = None
        self._link_is_shown = False

    def execute(self, context: Context) -> Any:
        """
        Look once, then wait in the way that was asked for.

        :param context: The task's context.
        :return: What was found, key by key.
        """
        self._deadline = self._first_moment(context) + self.timeout
        if not self.deferrable:
            return super().execute(context)
        with self._skipped_when_asked():
            wait = self._begin_wait(context)
            outcome = self._poll(context, wait)
        return outcome if outcome is not None else self._defer(wait)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Go on where the trigger ended: take a full look, and judge or wait on.

        :param context: The task's context.
        :param event: The trigger's event.
        :return: What was found, key by key.
        """
        wait = self._begin_wait(context)
        try:
            status = event["status"]
            if status != "error":
                wait.resume(event["state"])
        except (TypeError, KeyError, ValueError) as error:
            raise AirflowException(f"{wait}: the trigger's event makes no sense ({error!r}); look again") from None
        if status == "deadline":
            # The triggerer's clock may be ahead of this one; its word ends the wait, or the two would go on for ever.
            wait.deadline = min(wait.deadline, time.time())
        with self._skipped_when_asked():
            if status == "error":
                kind = UnreachableError if event.get("transient") else IntercomRefusedError
                raise kind(str(event.get("message", "the trigger failed")))
            if status not in ("settled", "deadline"):
                raise AirflowException(f"{wait}: the trigger's event has an unknown status; look again")
            outcome = self._poll(context, wait, full=True)
        return outcome if outcome is not None else self._defer(wait)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Look once.

        :param context: The task's context.
        :return: False to wait on; or done, with what was found.
        """
        wait = self._wait or self._begin_wait(context)
        store = task_state_store(context) if self.reschedule else None
        key = f"{_STATE_KEY}/{context['ti'].try_number}" if store else ""
        if store and (state := store.get(key)):
            deadline = wait.deadline
            try:
                wait.resume(state)
            except ValueError as error:
                self.log.warning("%s: what the look before knew is lost: %s", wait, error)
            wait.deadline = deadline
        outcome = self._poll(context, wait)
        if store:
            store.set(key, wait.state())
            if outcome is None and wait.deadline_passed(time.time()):
                # The time passed while the state was written: Airflow would end the wait now, without a report.
                outcome = self._poll(context, wait)
        return False if outcome is None else PokeReturnValue(is_done=True, xcom_value=outcome)

    def _first_moment(self, context: Context) -> float:
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule and not self.deferrable else None
        return first.timestamp() if first else time.time()

    def _begin(self, context: Context) -> Wait:
        """Read the fields and begin what they ask for."""
        raise NotImplementedError

    def _poll(self, context: Context, wait: Any, *, full: bool = False) -> dict[str, Any] | None:
        """Look; what is told in the end, or None to wait on."""
        raise NotImplementedError

    def _trigger(self, wait: Any) -> BaseTrigger:
        """Give what looks while the sensor is deferred."""
        raise NotImplementedError

    def _begin_wait(self, context: Context) -> Wait:
        self._wait = wait = self._begin(context)
        return wait

    def _deadline_of_try(self) -> float:
        return time.time() + self.timeout if self._deadline is None else self._deadline

    def _is_told_to_wait(self, wait: Wait, now: float) -> bool:
        if now >= wait.not_before or wait.deadline_passed(now):
            return False
        self.log.info("%s: Intercom asked to wait for %.0f s", wait, wait.not_before - now)
        return True

    def _show_link(self, context: Context, settings: Settings) -> None:
        if not self._link_is_shown:
            show_link(context, inbox_url(settings))
            self._link_is_shown = True

    def _defer(self, wait: Wait) -> None:
        self.defer(
            trigger=self._trigger(wait),
            method_name="execute_complete",
            timeout=timedelta(seconds=max(0.0, wait.deadline - time.time())) + _DEFERRAL_MARGIN,
        )

    def _pace(self) -> dict[str, Any]:
        """Give what every trigger has to know."""
        return {
            "intercom_conn_id": self.intercom_conn_id,
            "api_version": None if is_missing(self.api_version) else self.api_version,
            "poke_interval": self.poke_interval,
            "exponential_backoff": self.exponential_backoff,
            "max_wait": self.max_wait.total_seconds() if self.max_wait else None,
            "failed_looks_allowed": self._max_failed_polls,
        }

    @property
    def _max_failed_polls(self) -> int | None:
        from intercom_provider.waiting.wait import MAX_FAILED_POLLS  # noqa: PLC0415 - not when a DAG is parsed

        return None if self.silent_fail else MAX_FAILED_POLLS

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
