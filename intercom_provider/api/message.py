"""
The four types of messages that Intercom sends: strict, with errors for people.

See https://developers.intercom.com/docs/references/rest-api/api.intercom.io/messages/createmessage.
"""

from __future__ import annotations

import html
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from intercom_provider.api.characters import strip_invisible
from intercom_provider.api.components import check_components
from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.json_text import parse_json_text, read_json
from intercom_provider.api.json_values import as_json
from intercom_provider.api.message_problems import problems_of
from intercom_provider.api.recipient import ContactRecipient, PhoneRecipient, Recipients, StrictModel
from intercom_provider.api.values import (
    Choice,
    Identifier,
    Line,
    PastSeconds,
    Text,
    Word,
    is_missing,
)
from intercom_provider.api.version import version_reaches

Json: TypeAlias = dict[str, Any]

MESSAGE_FIELDS: Final = (
    "message_type",
    "to",
    "body",
    "subject",
    "template",
    "components",
    "locale",
    "from_admin_id",
    "cc",
    "bcc",
    "created_at",
    "create_conversation_without_contact_reply",
    "body_format",
    "shared_conversation",
    "key",
)
"""The fields of a message, in the order in which every sender takes them."""

_MAX_QUOTED_CHARS: Final = 40
_TYPES: Final = "in_app, email, whatsapp, sms"
_VERSIONS_OF_FIELDS: Final = {"cc": "2.14", "bcc": "2.14", "created_at": "2.11"}
_NOT_JSON: Final = "must be JSON alone (lists, objects, text, numbers): make other values text in the template"
_SHARED: Final = (
    "is a list, which makes ONE conversation that all of them see. For one message each use "
    "SendMessageBatchOperator or task mapping; if they are to share it, set shared_conversation=True"
)


class _Message(StrictModel):
    """The fields of all four types."""

    to: tuple[ContactRecipient, ...] | tuple[PhoneRecipient, ...]
    from_admin_id: Identifier | None = None
    created_at: PastSeconds | None = None
    create_conversation_without_contact_reply: Annotated[bool | None, Choice] = None
    shared_conversation: Annotated[bool, Choice] = False
    key: Identifier | None = None

    wire_type: ClassVar[str]

    @field_validator("key")
    @classmethod
    def _can_be_stored(cls, value: str | int | None) -> str | int | None:
        # The ledger may be a table, and no database takes it.
        if isinstance(value, str) and "\0" in value:
            raise PydanticCustomError("key", "must hold no NUL character: remove it")
        return value

    @model_validator(mode="before")
    @classmethod
    def _one_recipient_unless_shared(cls, fields: Mapping[str, object]) -> Mapping[str, object]:
        shared = str(fields.get("shared_conversation", False)).strip().lower() == "true"
        if isinstance(parse_json_text("to", fields.get("to")), list) and not shared:
            raise InvalidInputError.of("to", _SHARED)
        return fields

    def wire(self, default_admin_id: str | int | None = None) -> Json:
        """
        Build the body of ``POST /messages``.

        :param default_admin_id: The sender when the message names none.
        :return: The JSON body.
        :raises InvalidInputError: When neither names a sender.
        """
        sender = default_admin_id if self.from_admin_id is None else self.from_admin_id
        if sender is None:
            raise InvalidInputError.of(
                "from_admin_id",
                "is missing: set from_admin_id, or the default sender admin_id in the connection's extra",
            )
        body = {
            "message_type": self.wire_type,
            "from": {"type": "admin", "id": sender},
            **self.wire_recipients(),
        }
        body |= self._wire_content()
        for name in ("created_at", "create_conversation_without_contact_reply"):
            if getattr(self, name) is not None:
                body[name] = getattr(self, name)
        return body

    def private_texts(self) -> list[str]:
        """
        List the texts that must not appear in logs and errors.

        :return: Recipients, bodies and parameters, as they are sent.
        """
        content = {name: value for name, value in self._wire_content().items() if name not in ("template", "locale")}
        return sorted({*_strings(self.wire_recipients()), *_strings(content)})

    def wire_recipients(self) -> Json:
        """
        Build the recipients' part of the body.

        :return: ``to``, ``cc`` and ``bcc`` as JSON.
        """
        fields: Json = {}
        for name in ("to", "cc", "bcc"):
            if recipients := vars(self).get(name):
                listed = [each.model_dump(exclude_none=True) for each in recipients]
                fields[name] = listed if name in self.lists else listed[0]
        return fields

    @property
    def recipients(self) -> list[list[str]]:
        """The recipients by their ids alone, because another name or role does not make another person."""
        found = []
        for each in self.to:
            fields = vars(each)
            name = next(name for name in ("phone", "id", "user_id", "email") if fields.get(name) is not None)
            found.append([name, str(fields[name]).lower() if name == "email" else str(fields[name])])
        return sorted(found)

    @property
    def lists(self) -> list[str]:
        """The fields that are sent as a list of recipients."""
        # Not getattr: for a field that a type lacks, a model raises and catches an error each time.
        copied = [name for name in ("cc", "bcc") if len(vars(self).get(name) or ()) > 1]
        return ["to", *copied] if self.shared_conversation else copied

    @abstractmethod
    def _wire_content(self) -> Json:
        """Build the part of the body that only this type has."""


class _ContactMessage(_Message):
    """The fields of the three types that send a body to a contact."""

    to: Recipients[ContactRecipient]
    body: Text
    body_format: Annotated[Literal["html", "text"], Choice] = "html"
    cc: Recipients[ContactRecipient] | None = None
    bcc: Recipients[ContactRecipient] | None = None

    def _wire_content(self) -> Json:
        if self.body_format == "html":
            return {"body": self.body}
        return {"body": html.escape(self.body).replace("\r\n", "\n").replace("\n", "<br>\n")}


class InAppMessage(_ContactMessage):
    """A message in the Messenger. Fields as of ``SendMessageOperator``."""

    message_type: Literal["in_app", "inapp"]
    wire_type: ClassVar[str] = "inapp"


class EmailMessage(_ContactMessage):
    """An email. Fields as of ``SendMessageOperator``."""

    message_type: Literal["email"]
    subject: Line
    template: Annotated[Literal["plain", "personal"], Choice] = "plain"
    wire_type: ClassVar[str] = "email"

    def _wire_content(self) -> Json:
        return {"subject": self.subject, "template": self.template, **super()._wire_content()}


class SmsMessage(_ContactMessage):
    """An SMS, in the Preview version of the API. Fields as of ``SendMessageOperator``."""

    message_type: Literal["sms"]
    wire_type: ClassVar[str] = "sms"

    def _wire_content(self) -> Json:
        # An SMS is plain text in either format. Escaped, it would arrive with its entities.
        return {"body": self.body}


class WhatsAppMessage(_Message):
    """A WhatsApp template message. Fields as of ``SendMessageOperator``."""

    message_type: Literal["whatsapp"]
    to: Recipients[PhoneRecipient]
    template: Word
    components: list[Json] = Field(default_factory=list)
    locale: Word | None = None
    wire_type: ClassVar[str] = "whatsapp"

    @field_validator("components", mode="before")
    @classmethod
    def _check_parameters(cls, value: object) -> object:
        data = parse_json_text("components", value)
        try:
            sent = json.dumps(data, allow_nan=False, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            # With values of tables in it, which few messages have.
            sent = _dump(as_json("components", data))
        # Checked in the form in which it is sent: tuples become lists.
        components = read_json("components", _sendable(sent), _NOT_JSON)
        if isinstance(components, list) and (problems := list(check_components(components))):
            raise InvalidInputError(problems)
        return components

    def _wire_content(self) -> Json:
        content: Json = {"template": self.template, "components": self.components}
        return content if self.locale is None else {**content, "locale": self.locale}


Message: TypeAlias = InAppMessage | EmailMessage | SmsMessage | WhatsAppMessage

_MODELS: Final[dict[str, type[Message]]] = {
    "in_app": InAppMessage,
    "inapp": InAppMessage,
    "email": EmailMessage,
    "whatsapp": WhatsAppMessage,
    "sms": SmsMessage,
}


def _dump(data: object) -> str:
    try:
        return json.dumps(data, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        raise InvalidInputError.of("components", _NOT_JSON) from None


def _sendable(text: str) -> str:
    """Check that a text can be encoded, which half a character cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError.of("components", _NOT_JSON) from None
    return text


def parse_message(fields: Mapping[str, object]) -> Message:
    """
    Parse a message.

    :param fields: The fields of a message by name; None, "" and "None" mean missing.
    :return: The valid message.
    :raises InvalidInputError: When fields are wrong; with all of them and what to do.
    """
    given = {name: value for name, value in fields.items() if not is_missing(value)}
    kind = given.get("message_type")
    if isinstance(kind, str):
        kind = given["message_type"] = strip_invisible(kind)
    if kind is None:
        raise InvalidInputError.of("message_type", f"is missing: use one of {_TYPES}")
    if not isinstance(kind, str) or kind not in _MODELS:
        raise InvalidInputError.of("message_type", f"{str(kind)[:_MAX_QUOTED_CHARS]!r} is unknown: use one of {_TYPES}")
    if kind == "whatsapp" and strip_invisible(str(given.get("body_format"))) in ("html", "text"):
        # Every sender passes its default, also for a message without a body.
        del given["body_format"]
    try:
        return _MODELS[kind].model_validate(given)
    except ValidationError as error:
        raise InvalidInputError(problems_of(error, kind, given, MESSAGE_FIELDS)) from None


def check_version(message: Message, api_version: str) -> None:
    """
    Check that a version of the API can send a message.

    :param message: The message.
    :param api_version: The version that it is to be sent with.
    :raises InvalidInputError: When the version is too old for the message.
    """
    if isinstance(message, SmsMessage) and not version_reaches(api_version, "Preview"):
        raise InvalidInputError.of(
            "message_type",
            f"sms is only in Intercom's Preview API: set api_version to Preview (it is {api_version})",
        )
    if isinstance(message, WhatsAppMessage) and not version_reaches(api_version, "2.16"):
        raise InvalidInputError.of("message_type", f"whatsapp needs api_version 2.16 or later (it is {api_version})")
    if message.lists and not version_reaches(api_version, "2.14"):
        raise InvalidInputError.of(
            message.lists[0], f"a list of recipients needs api_version 2.14 or later (it is {api_version})"
        )
    # An older version ignores a field that it does not know, and somebody is left out without a word.
    for name, needed in _VERSIONS_OF_FIELDS.items():
        if vars(message).get(name) is not None and not version_reaches(api_version, needed):
            raise InvalidInputError.of(name, f"needs api_version {needed} or later (it is {api_version})")


def _strings(data: object) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for name, entry in data.items():
            if name != "type":
                yield from _strings(entry)
    elif isinstance(data, list):
        for entry in data:
            yield from _strings(entry)
