"""
Intercom's answers, read tolerantly: unknown fields are ignored, missing ones are None.

See https://developers.intercom.com/docs/references/rest-api/api.intercom.io/messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic_core import from_json

from intercom_provider.api.redaction import mask_contact_details
from intercom_provider.api.tolerant import (
    MAX_ID_CHARS,
    MAX_WORDS_CHARS,
    Count,
    Detail,
    Empty,
    MessageId,
    Missing,
    Moment,
    Seconds,
    StatusWord,
    Tolerant,
    TolerantList,
    Words,
    as_utf8,
    join_words,
    parse_json,
    read_entries,
)
from intercom_provider.api.values import Identifier  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Iterable

_TIMES: Final[TypeAdapter[list[int | None]]] = TypeAdapter(list[Seconds])
_IDS = ("whatsapp_message_id", "id", "conversation_id", "user_id")


class SentMessage(Tolerant):
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
    message_type: Detail = None
    conversation_id: Detail = None
    whatsapp_message_id: str | None = None


class StatusEvent(Tolerant):
    """
    One WhatsApp message of a ruleset, as ``GET /messages/status`` lists it.

    :param whatsapp_message_id: The message's WhatsApp id; where it is missing, the event's own id, else the
        conversation's or the contact's.
    :param status: ``sent``, ``delivered``, ``read``, ``failed``, or one that is not known yet, in lower case.
    :param id: The event's own id.
    :param conversation_id: The conversation, if there is one.
    :param user_id: Intercom's id of the contact.
    :param created_at: When the message was sent, in epoch seconds.
    :param updated_at: When it reached this status, in epoch seconds.
    :param template_name: The WhatsApp template.
    """

    whatsapp_message_id: MessageId = Field(validation_alias=AliasChoices(*_IDS))
    status: StatusWord = ""
    id: Detail = None
    conversation_id: Detail = None
    user_id: Detail = None
    created_at: Seconds = None
    updated_at: Seconds = None
    template_name: Detail = None

    @classmethod
    def read_parsed(cls, value: dict[str, object]) -> Self:
        """
        Read an event, by another of its ids where the first cannot be read.

        :param value: The parsed JSON.
        :return: The event.
        :raises ValueError: When it has no id at all.
        """
        ids = (str(each) for name in _IDS if not isinstance(each := value.get(name), bool | list | dict | None))
        found = next((each for each in ids if 0 < len(each) <= MAX_ID_CHARS), None)
        return super().read_parsed({**value, "whatsapp_message_id": found})


# An end that cannot be read is no end: the rest of the list would be lost.
class _Next(Tolerant):
    starting_after: str | Empty | None = Field(default=None, union_mode="left_to_right")


class _Pages(Tolerant):
    next: _Next | Empty | None = Field(default=None, union_mode="left_to_right")


_EVENTS: Final = TypeAdapter(list[StatusEvent])


class StatusPage(Tolerant):
    """
    One page of ``GET /messages/status``.

    A list may have a hundred thousand events, of which most polls only count the statuses. So a page has these as
    columns, and reads events whole when somebody wants them.

    :param ids: The ids of the events' messages, as ``whatsapp_message_id`` of :class:`StatusEvent`.
    :param statuses: The statuses of the events, in lower case.
    :param entries: The events as Intercom wrote them.
    :param unreadable: How many entries cannot be read. They are in none of the columns.
    :param ruleset_id: The ruleset, where the page names it.
    :param total_count: How many messages Intercom announces; None when it does not.
    """

    ids: list[MessageId]
    statuses: list[StatusWord]
    unreadable: int
    ruleset_id: Detail = None
    total_count: Count = None
    pages: _Pages | Empty | None = Field(default=None, union_mode="left_to_right")
    entries: list[Any] = Field(exclude=True, repr=False)

    @classmethod
    def read(cls, body: bytes) -> Self:
        """
        Read a page.

        :param body: JSON.
        :return: The page.
        :raises ValueError: When nothing of it can be read.
        """
        try:
            # Remembering every text, in case it comes again, takes longer than reading it: most are ids.
            return cls._read_columns(from_json(body, cache_strings="keys"))
        except (ValueError, TypeError, LookupError):
            return cls.read_parsed(parse_json(body))

    @classmethod
    def read_parsed(cls, value: Any) -> Self:
        """
        Read a page of which some entries cannot be read as they are.

        :param value: The parsed JSON.
        :return: The page.
        :raises ValueError: When it is not a list, or when none of its entries can be read.
        """
        found, unreadable = read_entries(StatusEvent, value, "events")
        readable = {**value, "events": [each.model_dump() for each in found]}
        return cls._read_columns(from_json(as_utf8(readable)), unreadable)

    @classmethod
    def _read_columns(cls, value: Any, unreadable: int = 0) -> Self:
        entries = value["events"]
        if not isinstance(entries, list):
            raise TypeError("not a list")
        ids = [each["whatsapp_message_id"] for each in entries]
        statuses = [each["status"] for each in entries]
        columns = {"ids": ids, "statuses": statuses, "entries": entries, "unreadable": unreadable}
        page = cls.model_validate({**value, **columns})
        if page.statuses and not any(page.statuses):
            raise ValueError("no event has a status")
        return page

    @property
    def created_at(self) -> list[int | None]:
        """When the messages were sent, in epoch seconds."""
        return _TIMES.validate_python([each.get("created_at") for each in self.entries])

    @property
    def events(self) -> list[StatusEvent]:
        """The events."""
        return _EVENTS.validate_python(self.entries)

    def read_events(self, indexes: Iterable[int]) -> list[StatusEvent]:
        """
        Read some events.

        :param indexes: Their indexes in the columns.
        :return: The events.
        """
        return _EVENTS.validate_python([self.entries[index] for index in indexes])

    @property
    def starting_after(self) -> str | None:
        """The cursor of the next page; None on the last one."""
        following = self.pages.next if self.pages else None
        return (following.starting_after or None) if following else None


class WhatsAppError(Tolerant):
    """
    Why WhatsApp could not deliver a message.

    :param message: WhatsApp's words.
    :param details: More of WhatsApp's words.
    """

    message: Words = Field(default=None, validation_alias=AliasChoices("message", "title", "reason"))
    details: Words = Field(default=None, validation_alias=AliasChoices("details", "error_data", "code"))

    def __str__(self) -> str:
        said = ": ".join(part[:MAX_WORDS_CHARS] for part in (self.message, self.details) if part)
        return mask_contact_details(said) or "no reason given"


def _whatsapp_error(value: object) -> WhatsAppError | None:
    words = join_words(value)
    return None if words is None else WhatsAppError(message=words)


class WhatsAppStatus(Tolerant):
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

    whatsapp_message_id: Detail = Field(
        validation_alias=AliasChoices("message_id", "whatsapp_message_id"), default=None
    )
    status: StatusWord
    conversation_id: Detail = None
    created_at: Seconds = None
    updated_at: Seconds = None
    template_name: Detail = None
    error: WhatsAppError | Annotated[WhatsAppError | None, BeforeValidator(_whatsapp_error)] | None = Field(
        default=None, union_mode="left_to_right"
    )


class _FirstReply(Tolerant):
    created_at: Moment = None


class _Statistics(Tolerant):
    first_contact_reply_at: Moment = None
    last_contact_reply_at: Moment = None


class _Author(Tolerant):
    type: Detail = None
    id: Detail = None


class ConversationSource(Tolerant):
    """
    The first message of a conversation.

    :param id: The message's id.
    :param type: ``conversation`` (in-app), ``email``, ``sms``, ``whatsapp``, or another origin.
    :param author: The author of the message.
    :param subject: The subject of an email.
    :param body: The text.
    """

    id: Detail = None
    type: Detail = None
    author: _Author | Annotated[_Author, BeforeValidator(lambda _: _Author())] = Field(
        default=_Author(), union_mode="left_to_right"
    )
    subject: Words = Field(default=None, repr=False)
    body: Words = Field(default=None, repr=False)


class Conversation(Tolerant):
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
    source: ConversationSource | Missing | None = Field(default=None, union_mode="left_to_right")
    first_contact_reply: _FirstReply | Missing | None = Field(default=None, union_mode="left_to_right")
    statistics: _Statistics | Missing | None = Field(default=None, union_mode="left_to_right")

    @property
    def replied_at(self) -> int | None:
        """When the contact first answered, in epoch seconds; None before that."""
        first = self.first_contact_reply.created_at if self.first_contact_reply else None
        statistics = self.statistics or _Statistics()
        return first or statistics.first_contact_reply_at or statistics.last_contact_reply_at


class ConversationList(TolerantList):
    """Intercom's answer to ``POST /conversations/search``."""

    entries: ClassVar[str] = "conversations"
    kind: ClassVar[type[Tolerant]] = Conversation

    conversations: list[Conversation]


class Workspace(Tolerant):
    """The workspace in Intercom's answer to ``GET /me``."""

    id_code: Detail = None
    name: Detail = None
    region: Detail = None


class Admin(Tolerant):
    """
    A teammate, as ``GET /admins/{id}`` answers.

    :param id: The admin's id.
    :param name: The admin's name.
    :param has_inbox_seat: Whether the admin may converse with contacts; None where Intercom does not say.
    """

    id: str = Field(min_length=1)
    name: Detail = None
    has_inbox_seat: bool | Missing | None = Field(default=None, union_mode="left_to_right")


class Me(Tolerant):
    """Intercom's answer to ``GET /me``: the admin whose token it is, and the workspace."""

    id: str
    name: Detail = None
    has_inbox_seat: bool | Missing | None = Field(default=None, union_mode="left_to_right")
    app: Workspace | Missing | None = Field(default=None, union_mode="left_to_right")


Outcome: TypeAlias = Literal[
    "sent", "already_sent", "claimed", "rejected", "not_sent", "unconfirmed", "expired", "dry_run"
]


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
