"""The base of the triggers of deferred sensors: poll, sleep, and end with an event."""

from __future__ import annotations

import asyncio
import math
import random
import time
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from intercom_provider.api.errors import IntercomError
from intercom_provider.compat import set_trigger_xcom
from intercom_provider.triggers.schedule import first_poll, next_poll, phase_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from intercom_provider.triggers.shared_client import SharedClient
    from intercom_provider.waiting.wait import Verdict, Wait

FoundT = TypeVar("FoundT")

# A reply that another trigger got within this share of the interval is used again.
_FRESH_SHARE: Final = 0.25
# Triggers that poll the same spread over this share of the interval, so that one asks and the others share its reply.
_SPREAD_SHARE: Final = 0.05
_MAX_SPREAD_SECONDS: Final = 2.0


class WaitingTrigger(BaseTrigger, Generic[FoundT]):
    """
    Polls until a wait is over or its deadline has passed, and always ends with an event.

    The sensor polls once more before it trusts the event. Airflow stores the arguments unencrypted; they are ids and
    numbers only. ``FoundT`` is the result of a poll.

    :param intercom_conn_id: The connection.
    :param api_version: API version in place of the connection's; None for the connection's.
    :param state: The state of the wait, from :meth:`intercom_provider.waiting.wait.Wait.state`.
    :param poke_interval: Seconds between two polls, and before the first.
    :param exponential_backoff: Whether each interval is twice the one before (default False).
    :param max_wait: The longest such interval in seconds; None for no limit.
    :param max_failed_polls: How many polls in a row may fail; None for any number.
    """

    def __init__(
        self,
        *,
        intercom_conn_id: str,
        api_version: str | None,
        state: dict[str, object],
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

    def own_fields(self) -> dict[str, object]:
        """Return the arguments that other triggers do not have."""
        raise NotImplementedError

    def begin(self) -> Wait[FoundT]:
        """Return the wait that the arguments describe."""
        raise NotImplementedError

    def serialize(self) -> tuple[str, dict[str, object]]:
        """
        Return what Airflow stores to run the trigger in another process.

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
                "max_failed_polls": self.max_failed_polls,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Poll and sleep until the wait is over.

        :return: One event. Its ``status`` is ``settled`` or ``deadline``, with the ``state`` of the wait, or ``error``,
            with a ``message`` and whether the error is ``transient``.
        """
        try:
            wait = self.begin()
            status = await self._poll_until_done(wait)
            event: dict[str, object] = {"status": status, "state": wait.state()}
        except IntercomError as error:
            event = {"status": "error", "transient": error.transient, "message": str(error)}
        except Exception as error:  # without an event the sensor would fail for no known reason
            self.log.exception("The trigger failed")
            event = {
                "status": "error",
                "transient": True,
                "message": f"the trigger failed: {type(error).__name__}: {error}",
            }
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # nor here

    async def _poll_until_done(self, wait: Wait[FoundT]) -> str:
        from intercom_provider.fields import read_interval
        from intercom_provider.hooks.intercom import IntercomHook
        from intercom_provider.triggers.shared_client import shared_client

        # The arguments may have been edited where Airflow stores them.
        interval = read_interval("poke_interval", self.poke_interval)
        longest = math.inf if self.max_wait is None else read_interval("max_wait", self.max_wait)
        phase = phase_for(self.intercom_conn_id, wait.poll_key)
        # Triggers with the same phase must not poll in the same moment, or all of them would ask.
        spread = random.random() * min(_SPREAD_SHARE * interval, _MAX_SPREAD_SECONDS)  # noqa: S311 - no secret
        # Sleep first, because the sensor has just polled.
        await _sleep_until(wait, first_poll(time.time(), interval, phase, wait.not_before) + spread)
        if wait.deadline_passed(time.time()):
            return "deadline"
        settings = await IntercomHook(self.intercom_conn_id, api_version=self.api_version).aget_settings()
        fresh_for = _FRESH_SHARE * interval
        async with shared_client(settings, shared_key=wait.shared_key, fresh_for=fresh_for) as client:
            while (verdict := await self._poll(wait, client)) == "wait":
                if self.exponential_backoff:
                    interval = min(2 * interval, longest)
                await _sleep_until(wait, next_poll(time.time(), interval, phase, wait.not_before) + spread)
                if wait.deadline_passed(time.time()):
                    return "deadline"
        return verdict

    async def _poll(self, wait: Wait[FoundT], client: SharedClient) -> Verdict:
        try:
            found = await client.run(wait.partial_poll(time.time()), blocking=wait.reads_files)
        except IntercomError as error:
            return wait.poll_failed(error, time.time(), self.max_failed_polls)
        verdict = wait.update(found, time.time())
        self.log.info("%s", wait.progress(found, time.time()))
        await self._publish(wait.progress_values(found))
        return verdict

    async def _publish(self, progress: dict[str, object]) -> None:
        try:
            await set_trigger_xcom(getattr(self, "task_instance", None), "progress", progress)
        except Exception as error:  # noqa: BLE001 - a wait must not end because its progress cannot be shown
            self.log.warning("the XCom progress could not be set: %s", type(error).__name__)


async def _sleep_until(wait: Wait[Any], moment: float) -> None:
    await asyncio.sleep(max(0.0, min(moment, wait.deadline) - time.time()))
    wait.follow_clock()
