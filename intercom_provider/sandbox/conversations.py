"""Conversations: a message, and what its recipient replied."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from intercom_provider.sandbox.contacts import Contact
    from intercom_provider.sandbox.searches import Kind

# The fields that a search may ask for.
SEARCH_FIELDS: Final[dict[str, Kind]] = {
    "id": "text",
    "created_at": "date",
    "updated_at": "date",
    "source.id": "text",
    "source.type": "text",
    "source.delivered_as": "text",
    "source.subject": "text",
    "source.body": "words",
    "source.author.id": "text",
    "source.author.type": "text",
    "source.author.name": "text",
    "source.author.email": "text",
    "contact_ids": "texts",
    "open": "flag",
    "read": "flag",
    "state": "text",
    "statistics.first_contact_reply_at": "date",
    "statistics.last_contact_reply_at": "date",
    "statistics.count_conversation_parts": "number",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """A contact's reply.

    :param time: unix time.
    :param body: its text, as the contact wrote it.
    """

    time: float
    body: str


@dataclass(slots=True)
class Conversation:
    """One conversation.

    :param id: Intercom's id of it.
    :param source: the message that began it, in Intercom's format.
    :param contacts: the message's recipients.
    :param opened: unix time at which it was opened.
    :param lag: sandbox seconds until searches know what happened in it.
    :param replies: the replies of the first recipient, in order.
    """

    id: str
    source: dict[str, Any]
    contacts: list[Contact]
    opened: float
    lag: float
    replies: list[Reply] = field(default_factory=list)

    def indexed(self, now: float, speed: float) -> dict[str, Any] | None:
        """Build the conversation as searches know it.

        :param now: unix time.
        :param speed: sandbox seconds per real second.
        :return: None while they do not find it yet.
        """
        indexed_until = now - self.lag / speed
        return self._wire(indexed_until) if self.opened <= indexed_until else None

    def read(self) -> dict[str, Any]:
        """Build the conversation with all of its parts, which are known at once."""
        author = self.contacts[0]
        parts = [self._part(number, reply, author) for number, reply in enumerate(self.replies, 1)]
        listed = {"type": "conversation_part.list", "conversation_parts": parts, "total_count": len(parts)}
        return self._wire(float("inf")) | {"title": None, "conversation_parts": listed}

    def _part(self, number: int, reply: Reply, author: Contact) -> dict[str, Any]:
        written = int(reply.time)
        return {
            "type": "conversation_part",
            "id": f"{self.id}{number:03}",
            "part_type": "comment",
            "body": _paragraph(reply.body),
            "created_at": written,
            "updated_at": written,
            "notified_at": written,
            "assigned_to": None,
            "author": {
                "type": author.role,
                "id": author.id,
                "name": author.wire()["name"],
                "email": author.email or "",
            },
            "attachments": [],
            "external_id": None,
            "redacted": False,
        }

    def _wire(self, until: float) -> dict[str, Any]:
        opened = int(self.opened)
        replied = [int(each.time) for each in self.replies if each.time <= until]
        statistics: dict[str, Any] = {"type": "conversation_statistics", "count_conversation_parts": 1 + len(replied)}
        conversation: dict[str, Any] = {
            "type": "conversation",
            "id": self.id,
            "created_at": opened,
            "updated_at": replied[-1] if replied else opened,
            "open": True,
            "state": "open",
            "read": False,
            "source": self.source,
            "contacts": {"type": "contact.list", "contacts": [each.reference() for each in self.contacts]},
            "statistics": statistics,
        }
        if replied:
            conversation["first_contact_reply"] = {"created_at": replied[0], "type": "conversation", "url": None}
            statistics |= {"first_contact_reply_at": replied[0], "last_contact_reply_at": replied[-1]}
        return conversation


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text, quote=False)}</p>"
