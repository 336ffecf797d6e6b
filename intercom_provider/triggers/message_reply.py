"""The trigger that waits for a contact's answer while a sensor is deferred."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from intercom_provider.triggers.base import WaitingTrigger

if TYPE_CHECKING:
    from intercom_provider.api.models import Conversation
    from intercom_provider.waiting.reply_wait import ReplyWait


_Found: TypeAlias = "Conversation | None"


class MessageReplyTrigger(WaitingTrigger[_Found]):
    """
    Polls until a contact has answered or the deadline has passed, and always ends with an event.

    The sensor polls once more before it trusts the event. Airflow stores the arguments unencrypted; they are ids and
    numbers only.

    :param intercom_conn_id: The connection.
    :param api_version: API version in place of the connection's; None for the connection's.
    :param message_id: Intercom's id of the message.
    :param state: The state of the wait, from :meth:`intercom_provider.waiting.reply_wait.ReplyWait.state`.
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
        message_id: str,
        state: dict[str, object],
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

    def own_fields(self) -> dict[str, object]:
        """
        Return the arguments that other triggers do not have.

        :return: Arguments of the constructor.
        """
        return {"message_id": self.message_id}

    def begin(self) -> ReplyWait:
        """
        Return the wait that the arguments describe.

        :return: The wait.
        :raises ValueError: When the state is that of another version.
        """
        from intercom_provider.waiting.reply_wait import ReplyWait

        wait = ReplyWait(message_id=self.message_id, started=0.0, deadline=0.0)
        wait.resume(self.state)
        return wait
