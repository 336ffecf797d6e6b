"""The trigger that watches WhatsApp statuses while a sensor is deferred."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

from intercom_provider.api.errors import IntercomError
from intercom_provider.compat import set_trigger_xcom
from intercom_provider.delivery import Criteria
from intercom_provider.looks import Watch
from intercom_provider.triggers.rhythm import first_look, next_look, phase_of
from intercom_provider.watch import Wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from intercom_provider.triggers.shared import SharedClient
    from intercom_provider.watch import Verdict

# Shares of the interval: an answer that somebody else was given so lately will do, and how far those spread
# out who look at the same.
_FRESH: Final = 0.25
_APART: Final = 0.05
_MOST_APART: Final = 2.0


class MessageStatusTrigger(BaseTrigger):
    """
    Looks at WhatsApp statuses until they are settled or the deadline is here, and always ends with an event.

    It decides nothing for good: the sensor takes a full look of its own on the event. Its arguments are
    stored unencrypted by Airflow, and hold ids and numbers only.

    :param intercom_conn_id: The connection.
    :param api_version: Replaces the connection's API version; None for the connection's.
    :param watch: What to look at: the fields of :class:`intercom_provider.watch.Watch`.
    :param criteria: When it is over: the fields of :class:`intercom_provider.delivery.Criteria`.
    :param state: How far the wait is: what :meth:`intercom_provider.watch.Wait.state` gives.
    :param poke_interval: Seconds between two looks, and before the first.
    :param exponential_backoff: Whether each wait is twice the one before (default False).
    :param max_wait: The longest such wait in seconds; None for no limit.
    :param failed_looks_allowed: How many looks in a row may fail; None for any number.
    """

    def __init__(
        self,
        *,
        intercom_conn_id: str,
        api_version: str | None,
        watch: dict[str, Any],
        criteria: dict[str, Any],
        state: dict[str, Any],
        poke_interval: float,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        failed_looks_allowed: int | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow has no annotation here
        self.intercom_conn_id = intercom_conn_id
        self.api_version = api_version
        self.watch = watch
        self.criteria = criteria
        self.state = state
        self.poke_interval = poke_interval
        self.exponential_backoff = exponential_backoff
        self.max_wait = max_wait
        self.failed_looks_allowed = failed_looks_allowed

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """
        Give what Airflow stores to run the trigger in another process.

        :return: The class's path and its arguments.
        """
        return (
            "intercom_provider.triggers.message_status.MessageStatusTrigger",
            {
                "intercom_conn_id": self.intercom_conn_id,
                "api_version": self.api_version,
                "watch": self.watch,
                "criteria": self.criteria,
                "state": self.state,
                "poke_interval": self.poke_interval,
                "exponential_backoff": self.exponential_backoff,
                "max_wait": self.max_wait,
                "failed_looks_allowed": self.failed_looks_allowed,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Look, sleep, look again.

        :return: One event: ``status`` is ``settled``, ``deadline`` or ``error``, ``state`` how far it was.
        """
        wait = Wait(watch=Watch(), criteria=Criteria(), started=0.0, deadline=0.0)
        try:
            # Stored by another version, perhaps: then the sensor has to begin anew.
            wait.watch, wait.criteria = _watch(self.watch), Criteria(**self.criteria)
            wait.resume(self.state)
            status = await self._watch(wait)
            event: dict[str, Any] = {"status": status, "state": wait.state()}
        except IntercomError as error:
            event = {"status": "error", "transient": error.transient, "message": str(error), "state": wait.state()}
        except Exception as error:  # an event must come, or the sensor would fail without a word
            self.log.exception("%s: the trigger failed", wait.watch)
            message = f"the trigger failed: {type(error).__name__}: {error}"
            event = {"status": "error", "transient": True, "message": message, "state": wait.state()}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # nor here

    async def _watch(self, wait: Wait) -> str:
        from intercom_provider.hooks.intercom import IntercomHook  # noqa: PLC0415 - not when a DAG is parsed
        from intercom_provider.triggers.shared import shared_client  # noqa: PLC0415

        subject = wait.watch.ruleset_id
        phase = phase_of(self.intercom_conn_id, subject, *wait.watch.whatsapp_message_ids[:1])
        # Those that look at the same meet, but not in the same moment: one asks, and the others are told.
        apart = random.random() * min(_APART * self.poke_interval, _MOST_APART)  # noqa: S311 - no secret
        interval = self.poke_interval
        # The sensor has just looked; and every way round the loop sleeps.
        await _sleep_until(wait, first_look(time.time(), interval, phase, wait.not_before) + apart)
        if wait.is_due(time.time()):
            return "deadline"
        settings = await IntercomHook(self.intercom_conn_id, api_version=self.api_version).aget_settings()
        async with shared_client(settings, subject=subject, fresh_for=_FRESH * interval) as client:
            while (verdict := await self._look(wait, client)) == "wait":
                if self.exponential_backoff:
                    interval = min(2 * interval, self.max_wait or 2 * interval)
                await _sleep_until(wait, next_look(time.time(), interval, phase, wait.not_before) + apart)
                if wait.is_due(time.time()):
                    return "deadline"
        return verdict

    async def _look(self, wait: Wait, client: SharedClient) -> Verdict:
        try:
            found = await client.run(wait.look(time.time(), hint=True))
        except IntercomError as error:
            return wait.stumbled(error, time.time(), self.failed_looks_allowed)
        verdict = wait.took(found, time.time())
        self.log.info("%s", wait.progress(found, time.time()))
        await self._show(wait.shown(found))
        return verdict

    async def _show(self, progress: dict[str, Any]) -> None:
        try:
            await set_trigger_xcom(getattr(self, "task_instance", None), "progress", progress)
        except Exception as error:  # noqa: BLE001 - a wait must not end because its progress cannot be shown
            self.log.warning("the progress could not be shown in XCom: %s", type(error).__name__)


async def _sleep_until(wait: Wait, moment: float) -> None:
    await asyncio.sleep(max(0.0, min(moment, wait.deadline) - time.time()))


def _watch(fields: dict[str, Any]) -> Watch:
    return Watch(**{**fields, "whatsapp_message_ids": tuple(fields["whatsapp_message_ids"])})
