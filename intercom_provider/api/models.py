"""
Intercom's answers, read tolerantly: unknown fields are ignored, missing ones are None.

See https://developers.intercom.com/docs/references/rest-api/api.intercom.io/messages.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from intercom_provider.api.redaction import mask_contact_details
from intercom_provider.api.values import Identifier, as_datetime


def _seconds(value: object) -> int | None:
    try:
        return int(float(str(value)))
    except (ValueError, OverflowError):
        return None


# An unreadable time becomes None, so that the status or the message beside it is not lost. Whole numbers are left to
# pydantic's core, which is faster, because a long list has 200,000 of them.
Seconds = Annotated[
    Annotated[int, Strict()] | Annotated[int | None, BeforeValidator(_seconds)], Field(union_mode="left_to_right")
]


def _moment(value: object) -> int | None:
    try:
        return int(as_datetime(value).timestamp())
    except ValueError:
        return None


# These times say whether something has happened at all, so they are read in every format that Intercom may use.
Moment = Annotated[int | None, BeforeValidator(_moment)]


class _Tolerant(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True)


class SentMessage(_Tolerant):
    """
    Intercom's answer to ``POST /messages``.

    :param id: The message's id; not a conversation's.
    :param type: ``admin_message`` or ``user_message``.
    :param created_at: When Intercom created it, in epoch seconds.
    :param message_type: The type by Intercom's name (``inapp``).
    :param conversation_id: The conversation, if the message opened one.
    :param whatsapp_message_id: WhatsApp's id, if WhatsApp accepted the message.
    """

    id: str = Field(min_length=1)
    type: str | None = None
    created_at: Seconds = None
    message_type: str | None = None
    conversation_id: str | None = None
    whatsapp_message_id: str | None = None


class StatusEvent(_Tolerant):
    """
    One WhatsApp message of a ruleset, as ``GET /messages/status`` lists it.

    :param whatsapp_message_id: The message's WhatsApp id; the event's own id if that is missing.
    :param status: ``sent``, ``delivered``, ``read``, ``failed``, or a status that this version does not know.
    :param id: The event's own id.
    :param conversation_id: The conversation, if there is one.
    :param user_id: Intercom's id of the contact.
    :param created_at: When the message was sent, in epoch seconds.
    :param updated_at: When it reached this status, in epoch seconds.
    :param template_name: The WhatsApp template.
    """

    whatsapp_message_id: str = Field(min_length=1, validation_alias=AliasChoices("whatsapp_message_id", "id"))
    status: str
    id: str | None = None
    conversation_id: str | None = None
    user_id: str | None = None
    created_at: Seconds = None
    updated_at: Seconds = None
    template_name: str | None = None


class _Next(_Tolerant):
    starting_after: str | None = None


class _Pages(_Tolerant):
    next: _Next | None = None


class StatusPage(_Tolerant):
    """One page of ``GET /messages/status``."""

    events: list[StatusEvent]
    total_count: int | None = None
    pages: _Pages | None = None

    @property
    def starting_after(self) -> str | None:
        """The cursor of the next page; None on the last one."""
        following = self.pages.next if self.pages else None
        return (following.starting_after or None) if following else None


class WhatsAppError(_Tolerant):
    """
    Why WhatsApp could not deliver a message.

    :param message: WhatsApp's words.
    :param details: More of WhatsApp's words.
    """

    message: str | None = None
    details: str | None = None

    def __str__(self) -> str:
        said = ": ".join(part for part in (self.message, self.details) if part)
        return mask_contact_details(said) or "no reason given"


class WhatsAppStatus(_Tolerant):
    """
    Intercom's answer to ``GET /messages/whatsapp/status``.

    :param whatsapp_message_id: The message's WhatsApp id, as asked for.
    :param status: ``sent``, ``delivered``, ``read``, ``failed``, or a status that this version does not know.
    :param conversation_id: The conversation, if there is one.
    :param created_at: When the message was sent, in epoch seconds.
    :param updated_at: When it reached this status, in epoch seconds.
    :param template_name: The WhatsApp template.
    :param error: Why it failed; None otherwise.
    """

    whatsapp_message_id: str = Field(validation_alias=AliasChoices("message_id", "whatsapp_message_id"), default="")
    status: str
    conversation_id: str | None = None
    created_at: Seconds = None
    updated_at: Seconds = None
    template_name: str | None = None
    error: WhatsAppError | None = None


class _FirstReply(_Tolerant):
    created_at: Moment = None


class _Statistics(_Tolerant):
    first_contact_reply_at: Moment = None
    last_contact_reply_at: Moment = None


class _Author(_Tolerant):
    type: str = ""
    id: str | None = None


class ConversationSource(_Tolerant):
    """
    The first message of a conversation.

    :param id: The message's id.
    :param type: ``conversation`` (in-app), ``email``, ``sms``, ``whatsapp``, or another origin.
    :param author: The author of the message.
    :param subject: The subject of an email.
    :param body: The text.
    """

    id: str | None = None
    type: str | None = None
    author: _Author = _Author()
    subject: str | None = Field(default=None, repr=False)
    body: str | None = Field(default=None, repr=False)


class Conversation(_Tolerant):
    """
    One conversation, as ``POST /conversations/search`` lists it.

    See https://developers.intercom.com/docs/references/rest-api/api.intercom.io/conversations.

    :param id: The conversation's id.
    :param created_at: When it began, in epoch seconds.
    :param source: The first message.
    :param first_contact_reply: The contact's first answer; None before it.
    :param statistics: Times of answers, of which only those of the contact are read.
    """

    id: str = Field(min_length=1)
    created_at: Moment = None
    source: ConversationSource | None = None
    first_contact_reply: _FirstReply | None = None
    statistics: _Statistics | None = None

    @property
    def replied_at(self) -> int | None:
        """When the contact first answered, in epoch seconds; None before that."""
        first = self.first_contact_reply.created_at if self.first_contact_reply else None
        statistics = self.statistics or _Statistics()
        return first or statistics.first_contact_reply_at or statistics.last_contact_reply_at


class ConversationList(_Tolerant):
    """Intercom's answer to ``POST /conversations/search``."""

    conversations: list[Conversation]


class Workspace(_Tolerant):
    """The workspace in Intercom's answer to ``GET /me``."""

    id_code: str | None = None
    name: str | None = None
    region: str | None = None


class Me(_Tolerant):
    """Intercom's answer to ``GET /me``: the admin whose token it is, and the workspace."""

    id: str
    name: str | None = None
    has_inbox_seat: bool | None = None
    app: Workspace | None = None


Outcome: TypeAlias = Literal["sent", "already_sent", "rejected", "not_sent", "unconfirmed", "expired", "dry_run"]


class Receipt(BaseModel):
    """
    The result of sending one message, which is the XCom of a send.

    :param outcome: ``sent``, ``already_sent``, ``rejected``, ``not_sent``, ``unconfirmed``, ``expired`` or ``dry_run``.
    :param reason: Why the outcome is not ``sent``; None otherwise.
    :param id: Intercom's message id.
    :param conversation_id: The conversation, if the message opened one.
    :param whatsapp_message_id: WhatsApp's id of the message, by which its delivery status is asked for.
    :param message_type: The type by the user's name for it.
    :param created_at: When Intercom created the message, in epoch seconds.
    :param key: The user's own id of the message.
    """

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    reason: str | None = None
    id: str | None = None
    conversation_id: str | None = None
    whatsapp_message_id: str | None = None
    message_type: str
    created_at: int | None = None
    key: Identifier | None = None
