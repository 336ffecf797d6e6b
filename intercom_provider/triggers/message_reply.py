"""The trigger that looks for a contact's answer while a sensor is deferred."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from intercom_provider.triggers.base import WaitingTrigger

if TYPE_CHECKING:
    from intercom_provider.api.models import Conversation
    from intercom_provider.triggers.shared_client import SharedClient
    from intercom_provider.waiting.reply_wait import ReplyWait


class MessageReplyTrigger(WaitingTrigger):
    """
    Looks for a contact's answer until it is there or the deadline is here, and always ends with an event.

    It decides nothing for good: the sensor takes a look of its own on the event. Its arguments are stored
    unencrypted by Airflow, and hold ids and numbers only.

    :param intercom_conn_id: The connection.
    :param api_version: Replaces the connection's API version; None for the connection's.
    :param message_id: Intercom's id of the message.
    :param state: How far the wait is: what :meth:`intercom_provider.waiting.reply_wait.ReplyWait.state` gives.
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
        message_id: str,
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
        self.message_id = message_id

    def own_fields(self) -> dict[str, Any]:
        """
        Give what this trigger has beside what all have.

        :return: Arguments of the constructor.
        """
        return {"message_id": self.message_id}

    def begin(self) -> ReplyWait:
        """
        Make the wait of what was stored, by another version perhaps.

        :return: The wait.
        """
        from intercom_provider.waiting.reply_wait import ReplyWait  # noqa: PLC0415 - not before it runs

        wait = ReplyWait(message_id=self.message_id, started=0.0, deadline=0.0)
        wait.resume(self.state)
        return wait

    def shared_key(self, wait: ReplyWait) -> tuple[None, str]:
        """
        Name what is looked at.

        :param wait: The wait.
        :return: None, as nobody else looks at the same, and the message.
        """
        return None, wait.message_id

    async def poll(self, wait: ReplyWait, client: SharedClient) -> Conversation | None:
        """
        Look once.

        :param wait: The wait.
        :param client: Asks Intercom.
        :return: What was found.
        """
        return await client.run(wait.poll(time.time()))
