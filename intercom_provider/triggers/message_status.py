"""The trigger that watches WhatsApp statuses while a sensor is deferred."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from intercom_provider.api.errors import IntercomError
from intercom_provider.compat import set_trigger_xcom
from intercom_provider.delivery import Criteria
from intercom_provider.looks import Watch
from intercom_provider.watch import Wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from intercom_provider.api.client import AsyncIntercomClient


class MessageStatusTrigger(BaseTrigger):
    """
    Looks at WhatsApp statuses until they are settled or the deadline is here, and always ends with an event.

    It decides nothing for good: the sensor takes a full look of its own on the event. Its arguments are
    stored unencrypted by Airflow, and hold ids and numbers only.

    :param intercom_conn_id: The connection.
    :param api_version: Replaces the connection's API version; None for the connection's.
    :param watch: What to look at: the fields of :class:`intercom_provider.looks.Watch`.
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
        from intercom_provider.hooks.intercom import IntercomHook  # noqa: PLC0415 - not when a DAG is parsed

        wait = Wait(watch=Watch(), criteria=Criteria(), started=0.0, deadline=0.0)
        try:
            # Stored by another version, perhaps: then the sensor has to begin anew.
            wait.watch, wait.criteria = _watch(self.watch), Criteria(**self.criteria)
            wait.resume(self.state)
            hook = IntercomHook(self.intercom_conn_id, api_version=self.api_version)
            async with await hook.aget_conn() as client:
                status = await self._watch(wait, client)
            event: dict[str, Any] = {"status": status, "state": wait.state()}
        except IntercomError as error:
            event = {"status": "error", "transient": error.transient, "message": str(error), "state": wait.state()}
        except Exception as error:  # an event must come, or the sensor would fail without a word
            self.log.exception("%s: the trigger failed", wait.watch)
            message = f"the trigger failed: {type(error).__name__}: {error}"
            event = {"status": "error", "transient": True, "message": message, "state": wait.state()}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # nor here

    async def _watch(self, wait: Wait, client: AsyncIntercomClient) -> str:
        interval = self.poke_interval
        while True:
            # The sensor has just looked; and every way round this loop sleeps.
            pause = max(interval, wait.not_before - time.time())
            await asyncio.sleep(max(0.0, min(pause, wait.deadline - time.time())))
            if wait.is_due(time.time()):
                return "deadline"
            try:
                found = await client.run(wait.look(time.time(), hint=True))
            except IntercomError as error:
                verdict = wait.stumbled(error, time.time(), self.failed_looks_allowed)
            else:
                verdict = wait.took(found, time.time())
                self.log.info("%s", wait.progress(found, time.time()))
                await self._show(wait.shown(found))
            if verdict != "wait":
                return verdict
            if self.exponential_backoff:
                interval = min(2 * interval, self.max_wait or 2 * interval)

    async def _show(self, progress: dict[str, Any]) -> None:
        try:
            await set_trigger_xcom(getattr(self, "task_instance", None), "progress", progress)
        except Exception as error:  # noqa: BLE001 - a wait must not end because its progress cannot be shown
            self.log.warning("the progress could not be shown in XCom: %s", type(error).__name__)


def _watch(fields: dict[str, Any]) -> Watch:
    return Watch(**{**fields, "whatsapp_message_ids": tuple(fields["whatsapp_message_ids"])})
