"""What every trigger of a deferred sensor does alike: look, sleep, and end with an event."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

from intercom_provider.api.errors import IntercomError
from intercom_provider.compat import set_trigger_xcom
from intercom_provider.triggers.schedule import first_poll, next_poll, phase_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from intercom_provider.triggers.shared_client import SharedClient
    from intercom_provider.waiting.wait import Verdict, Wait

# Shares of the interval: an answer that somebody else was given so lately will do, and how far those spread
# out who look at the same.
_FRESH: Final = 0.25
_APART: Final = 0.05
_MOST_APART: Final = 2.0


class WaitingTrigger(BaseTrigger):
    """
    Looks until a wait is over or its deadline is here, and always ends with an event.

    It decides nothing for good: the sensor takes a look of its own on the event. Its arguments are stored
    unencrypted by Airflow, and hold ids and numbers only.

    :param intercom_conn_id: The connection.
    :param api_version: Replaces the connection's API version; None for the connection's.
    :param state: How far the wait is: what :meth:`intercom_provider.waiting.wait.Wait.state` gives.
    :param poke_interval: Seconds between two looks, and before the first.
    :param exponential_backoff: Whether each wait is twice the one before (default False).
    :param max_wait: The longest such wait in seconds; None for no limit.
    :param max_failed_polls: How many looks in a row may fail; None for any number.
    """

    def __init__(
        self,
        *,
        intercom_conn_id: str,
        api_version: str | None,
        state: dict[str, Any],
        poke_interval: float,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        max_failed_polls: int | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow has no annotation here
        self.intercom_conn_id = intercom_conn_id
        self.api_version = api_version
        self.state = state
        self.poke_interval = poke_interval
        self.exponential_backoff = exponential_backoff
        self.max_wait = max_wait
        self.max_failed_polls = max_failed_polls

    def own_fields(self) -> dict[str, Any]:
        """Give the constructor's arguments that only this trigger has."""
        raise NotImplementedError

    def begin(self) -> Wait:
        """Make the wait of what was stored."""
        raise NotImplementedError

    def shared_key(self, wait: Any) -> tuple[str | None, str]:
        """Name what others may look at as well, or None, and what is looked at."""
        raise NotImplementedError

    async def poll(self, wait: Any, client: SharedClient) -> Any:
        """Look once."""
        raise NotImplementedError

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """
        Give what Airflow stores to run the trigger in another process.

        :return: The class's path and its arguments.
        """
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "intercom_conn_id": self.intercom_conn_id,
                "api_version": self.api_version,
                **self.own_fields(),
                "state": self.state,
                "poke_interval": self.poke_interval,
                "exponential_backoff": self.exponential_backoff,
                "max_wait": self.max_wait,
                "failed_looks_allowed": self.max_failed_polls,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Look, sleep, look again.

        :return: One event: ``status`` is ``settled``, ``deadline`` or ``error``, and ``state``
            how far it was, or ``message`` what was wrong and ``transient`` whether that may pass.
        """
        try:
            wait = self.begin()
            status = await self._poll_until_done(wait)
            event: dict[str, Any] = {"status": status, "state": wait.state()}
        except IntercomError as error:
            event = {"status": "error", "transient": error.transient, "message": str(error)}
        except Exception as error:  # an event must come, or the sensor would fail without a word
            self.log.exception("The trigger failed")
            event = {
                "status": "error",
                "transient": True,
                "message": f"the trigger failed: {type(error).__name__}: {error}",
            }
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # nor here

    async def _poll_until_done(self, wait: Wait) -> str:
        from intercom_provider.hooks.intercom import IntercomHook  # noqa: PLC0415 - not when a DAG is parsed
        from intercom_provider.triggers.shared_client import shared_client  # noqa: PLC0415

        shared_key, name = self.shared_key(wait)
        phase = phase_for(self.intercom_conn_id, name)
        # Those that look at the same meet, but not in the same moment: one asks, and the others are told.
        apart = random.random() * min(_APART * self.poke_interval, _MOST_APART)  # noqa: S311 - no secret
        interval = self.poke_interval
        # The sensor has just looked; and every way round the loop sleeps.
        await _sleep_until(wait, first_poll(time.time(), interval, phase, wait.not_before) + apart)
        if wait.deadline_passed(time.time()):
            return "deadline"
        settings = await IntercomHook(self.intercom_conn_id, api_version=self.api_version).aget_settings()
        async with shared_client(settings, shared_key=shared_key, fresh_for=_FRESH * interval) as client:
            while (verdict := await self._poll(wait, client)) == "wait":
                if self.exponential_backoff:
                    interval = min(2 * interval, self.max_wait or 2 * interval)
                await _sleep_until(wait, next_poll(time.time(), interval, phase, wait.not_before) + apart)
                if wait.deadline_passed(time.time()):
                    return "deadline"
        return verdict

    async def _poll(self, wait: Wait, client: SharedClient) -> Verdict:
        try:
            found = await self.poll(wait, client)
        except IntercomError as error:
            return wait.poll_failed(error, time.time(), self.max_failed_polls)
        verdict = wait.update(found, time.time())
        self.log.info("%s", wait.progress(found, time.time()))
        await self._show(wait.progress_values(found))
        return verdict

    async def _show(self, progress: dict[str, Any]) -> None:
        try:
            await set_trigger_xcom(getattr(self, "task_instance", None), "progress", progress)
        except Exception as error:  # noqa: BLE001 - a wait must not end because its progress cannot be shown
            self.log.warning("the progress could not be shown in XCom: %s", type(error).__name__)


async def _sleep_until(wait: Wait, moment: float) -> None:
    await asyncio.sleep(max(0.0, min(moment, wait.deadline) - time.time()))
