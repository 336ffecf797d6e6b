"""The trigger that watches WhatsApp statuses while a sensor is deferred."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from intercom_provider.triggers.base import WaitingTrigger

if TYPE_CHECKING:
    from intercom_provider.triggers.shared_client import SharedClient
    from intercom_provider.waiting.delivery_wait import DeliveryWait
    from intercom_provider.waiting.poll import FullPoll, PartialPoll


class MessageStatusTrigger(WaitingTrigger):
    """
    Looks at WhatsApp statuses until they are settled or the deadline is here, and always ends with an event.

    It decides nothing for good: the sensor takes a full look of its own on the event. Its arguments are
    stored unencrypted by Airflow, and hold ids and numbers only.

    :param intercom_conn_id: The connection.
    :param api_version: Replaces the connection's API version; None for the connection's.
    :param target: What to look at: what :meth:`intercom_provider.waiting.poll.Watch.state` gives.
    :param criteria: When it is over: the fields of :class:`intercom_provider.waiting.statuses.Criteria`.
    :param state: How far the wait is: what :meth:`intercom_provider.waiting.delivery_wait.DeliveryWait.state` gives.
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
        target: dict[str, Any],
        criteria: dict[str, Any],
        state: dict[str, Any],
        poke_interval: float,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        max_failed_polls: int | None = None,
    ) -> None:
        super().__init__(
            intercom_conn_id=intercom_conn_id,
            api_version=api_version,
            state=state,
            poke_interval=poke_interval,
            exponential_backoff=exponential_backoff,
            max_wait=max_wait,
            max_failed_polls=max_failed_polls,
        )
        self.target = target
        self.criteria = criteria

    def own_fields(self) -> dict[str, Any]:
        """
        Give what this trigger has beside what all have.

        :return: Arguments of the constructor.
        """
        return {"watch": self.target, "criteria": self.criteria}

    def begin(self) -> DeliveryWait:
        """
        Make the wait of what was stored, by another version perhaps.

        :return: The wait.
        """
        from intercom_provider.waiting.delivery_wait import DeliveryWait  # noqa: PLC0415
        from intercom_provider.waiting.poll import Watch  # noqa: PLC0415
        from intercom_provider.waiting.statuses import Criteria  # noqa: PLC0415 - not before it runs

        wait = DeliveryWait(
            target=Watch.resume(self.target), criteria=Criteria(**self.criteria), started=0.0, deadline=0.0
        )
        wait.resume(self.state)
        return wait

    def shared_key(self, wait: DeliveryWait) -> tuple[str | None, str]:
        """
        Name what is looked at.

        :param wait: The wait.
        :return: What others may look at as well, the ruleset, or None for single messages; and a name for it.
        """
        return wait.target.ruleset_id, wait.target.ruleset_id or wait.target.digest

    async def poll(self, wait: DeliveryWait, client: SharedClient) -> FullPoll | PartialPoll:
        """
        Look once; a hint that all may be settled will do.

        :param wait: The wait.
        :param client: Asks Intercom.
        :return: What was found.
        """
        from intercom_provider.results.message_ids import StreamedIds  # noqa: PLC0415 - not before it runs

        blocking = isinstance(wait.target.whatsapp_message_ids, StreamedIds)
        return await client.run(wait.poll(time.time(), may_stop_early=True), blocking=blocking)
