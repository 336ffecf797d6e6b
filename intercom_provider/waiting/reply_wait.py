"""One wait for a contact's answer to a message: what a look means for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from intercom_provider.api import calls
from intercom_provider.waiting.wait import Wait

if TYPE_CHECKING:
    from intercom_provider.api.flow import Flow
    from intercom_provider.api.models import Conversation
    from intercom_provider.waiting.wait import Verdict


@dataclass(slots=True, kw_only=True)
class ReplyWait(Wait):
    """
    A wait for an answer as it goes on.

    :param message_id: Intercom's id of the message.
    :param has_polled: Whether a look has succeeded.
    :param conversation_id: The conversation; None as long as there is none.
    :param replied_at: When the contact answered first, in epoch seconds; None before.
    """

    message_id: str
    has_polled: bool = False
    conversation_id: str | None = None
    replied_at: int | None = None

    def __str__(self) -> str:
        return f"Reply to message {self.message_id}"

    def poll(self, now: float) -> Flow[Conversation | None]:
        """
        Look for the conversation; at the deadline for the last time, which it does not cut short.

        :param now: Epoch seconds.
        :return: The conversation, for :meth:`update`; None when there is none yet.
        :raises IntercomError: When it could not be looked for, for :meth:`poll_failed`.
        """
        first, _ = self.limits(now)
        return calls.find_conversation_about(self.message_id, first)

    def update(self, found: Conversation | None, now: float) -> Verdict:
        """
        Take in a look.

        :param found: What was found.
        :param now: Epoch seconds when it was complete.
        :return: ``settled`` when the contact has answered.
        """
        self.failed_polls, self.has_polled = 0, True
        if found is not None:
            self.conversation_id, self.replied_at = found.id, found.replied_at
        if self.replied_at is not None:
            return "settled"
        return "deadline" if self.deadline_passed(now) else "wait"

    def progress(self, found: Conversation | None, now: float) -> str:  # noqa: ARG002 - as every wait has it
        """
        Say for the log how far it is.

        :param found: What was found last.
        :param now: Epoch seconds.
        :return: One line.
        """
        if found is None:
            return f"{self}: there is no conversation yet"
        told = "no answer yet" if self.replied_at is None else "the contact has answered"
        return f"{self}: conversation {found.id}, {told}"

    def progress_values(self, found: Conversation | None) -> dict[str, Any]:  # noqa: ARG002 - as above
        """
        Give the progress for people who look at a deferred task.

        :param found: What was found last.
        :return: The conversation's id and the time of the answer.
        """
        return {"conversation_id": self.conversation_id, "replied_at": self.replied_at}

    def state(self) -> dict[str, Any]:
        """
        Give what has to be remembered from one process to the next.

        :return: JSON, for :meth:`resume`.
        """
        return self.common_state() | {
            "has_looked": self.has_polled,
            "conversation_id": self.conversation_id,
            "replied_at": self.replied_at,
        }

    def resume(self, state: object) -> None:
        """
        Take up what another process knew of this wait.

        :param state: What :meth:`state` gave.
        :raises ValueError: When it is anything else, such as another version's.
        """
        try:
            if not isinstance(state, dict):
                raise TypeError("no object")  # noqa: TRY301 - whatever it is, it is not ours
            self.resume_common(state)
            self.has_polled = bool(state["has_looked"])
            conversation_id, replied_at = state["conversation_id"], state["replied_at"]
            self.conversation_id = None if conversation_id is None else str(conversation_id)
            self.replied_at = None if replied_at is None else int(replied_at)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the state of the wait is of another version ({error!r})") from None
