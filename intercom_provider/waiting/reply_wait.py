"""A wait until a contact has answered a message: what a poll means for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from intercom_provider.api import calls
from intercom_provider.api.models import Conversation
from intercom_provider.waiting.wait import Wait

if TYPE_CHECKING:
    from intercom_provider.api.flow import Flow
    from intercom_provider.waiting.wait import Verdict


@dataclass(slots=True, kw_only=True)
class ReplyWait(Wait[Conversation | None]):
    """
    A wait until a contact has answered a message.

    :param message_id: Intercom's id of the message.
    :param has_polled: Whether a poll has succeeded.
    :param conversation_id: The conversation; None when there was none yet.
    :param replied_at: When the contact answered first, in epoch seconds; None before.
    """

    message_id: str
    has_polled: bool = False
    conversation_id: str | None = None
    replied_at: int | None = None

    def __str__(self) -> str:
        return f"Reply to message {self.message_id}"

    @property
    def poll_key(self) -> str:
        """The message."""
        return self.message_id

    def partial_poll(self, now: float) -> Flow[Conversation | None]:
        """
        Find the conversation about the message.

        :param now: Epoch seconds.
        :return: The conversation, for :meth:`update`; None when there is none yet.
        :raises IntercomError: When Intercom could not be asked, for :meth:`poll_failed`.
        """
        first, _ = self.limits(now)
        return calls.find_conversation(self.message_id, first)

    def update(self, found: Conversation | None, now: float) -> Verdict:
        """
        Record the result of a poll.

        :param found: The conversation.
        :param now: Epoch seconds when the poll ended.
        :return: ``settled`` when the contact has answered.
        """
        self.failed_polls, self.has_polled = 0, True
        if found is not None:
            self.conversation_id, self.replied_at = found.id, found.replied_at
        if self.replied_at is not None:
            return "settled"
        return "deadline" if self.deadline_passed(now) else "wait"

    def progress(self, found: Conversation | None, now: float) -> str:  # noqa: ARG002 - the signature of all waits
        """
        Return the progress as a line for the log.

        :param found: The conversation.
        :param now: Epoch seconds.
        :return: One line.
        """
        if found is None:
            return f"{self}: there is no conversation yet"
        answer = "no answer yet" if self.replied_at is None else "the contact has answered"
        return f"{self}: conversation {found.id}, {answer}"

    def progress_values(self, found: Conversation | None) -> dict[str, object]:  # noqa: ARG002 - as above
        """
        Return the progress for the XCom of a task that waits.

        :param found: The conversation.
        :return: The conversation's id and the time of the answer.
        """
        return {"conversation_id": self.conversation_id, "replied_at": self.replied_at}

    def _own_state(self) -> dict[str, object]:
        return {
            "has_polled": self.has_polled,
            "conversation_id": self.conversation_id,
            "replied_at": self.replied_at,
        }

    def _resume_own(self, state: dict[str, Any]) -> None:
        self.has_polled = bool(state["has_polled"])
        conversation_id, replied_at = state["conversation_id"], state["replied_at"]
        self.conversation_id = None if conversation_id is None else str(conversation_id)
        self.replied_at = None if replied_at is None else int(replied_at)
