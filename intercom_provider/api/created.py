"""
Recognizing the message that Intercom has created, by what it is and not by the status alone.

Whatever answers with 200 and an id would otherwise be a message: a queue's job, an echo, somebody else's message. Such
an answer proves nothing, so the message stays unconfirmed. A detail that Intercom may add or leave out proves nothing
against a message either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from intercom_provider.api.flow import WrongReplyError, as_object
from intercom_provider.api.models import SentMessage

if TYPE_CHECKING:
    from intercom_provider.api.flow import Reply

_TYPES: Final = ("admin_message", "user_message")
_MESSAGE_TYPES: Final = {"in_app": "inapp", "in-app": "inapp"}
# A message's id is a number or a token with digits in it. Words such as "null", "inf" and "0" are none.
_ID: Final = re.compile(r"(?=[^0-9]*[0-9])[0-9A-Za-z][0-9A-Za-z_-]{0,99}")
_ZERO: Final = re.compile(r"[0_-]+")
_PRINTABLE: Final = re.compile(r"[!-~]{1,1000}")
# States of something that will become a message, or has not become one.
_STATES_OF_OTHERS: Final = frozenset(
    {
        "queued",
        "pending",
        "accepted",
        "processing",
        "scheduled",
        "received",
        "in_progress",
        "error",
        "failed",
        "rejected",
    }
)


def read_created(reply: Reply, wire: Mapping[str, object]) -> SentMessage:
    """
    Read Intercom's answer to a message.

    :param reply: A reply with a status from 200 to 299.
    :param wire: The message as it was sent.
    :return: The message that was created; an id of its conversation that cannot be stored is left out.
    :raises ValueError: When the answer is not this message, as far as it shows.
    """
    answer = as_object(reply)
    kind, message_type = _text(answer.get("type")), _text(answer.get("message_type"))
    if kind is not None and kind not in _TYPES:
        raise WrongReplyError("not a message")
    is_type_sent = message_type is not None and _normal(message_type) == _normal(_text(wire.get("message_type")) or "")
    # The types that WhatsApp messages are answered with differ between versions of the API.
    is_type_open = kind is not None and (message_type is None or wire.get("message_type") == "whatsapp")
    if not is_type_sent and not is_type_open:
        raise WrongReplyError("a message of another type, or not a message")
    if not _is_id(answer.get("id")):
        raise WrongReplyError("something without the id of a message")
    if (_text(answer.get("status")) or "").lower() in _STATES_OF_OTHERS:
        raise WrongReplyError("something that is not a message yet")
    _check_people(answer, wire)
    sent = reply.read(SentMessage)
    if sent.whatsapp_message_id and not _PRINTABLE.fullmatch(sent.whatsapp_message_id):
        raise WrongReplyError("a message with a whatsapp_message_id that is not an id")
    if sent.conversation_id and not _PRINTABLE.fullmatch(sent.conversation_id):
        return sent.model_copy(update={"conversation_id": None})
    return sent


def _is_id(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    return bool(_ID.fullmatch(str(value))) and not _ZERO.fullmatch(str(value))


def _check_people(answer: Mapping[str, object], wire: Mapping[str, object]) -> None:
    """
    Compare the sender and the recipient with those of the answer, where both name them in the same way.

    :raises WrongReplyError: When they differ.
    """
    sender, owner = wire.get("from"), answer.get("owner")
    if isinstance(sender, Mapping) and isinstance(owner, Mapping):
        is_admin = owner.get("type") == "admin"
        if is_admin and _differs(sender, owner, "id"):
            raise WrongReplyError("a message of another sender")
    recipient = wire.get("to")
    for name in ("to", "recipient", "contact"):
        answered = answer.get(name)
        if not (isinstance(recipient, Mapping) and isinstance(answered, Mapping)):
            continue
        if any(_differs(recipient, answered, field) for field in ("id", "user_id", "email", "phone")):
            raise WrongReplyError("a message to somebody else")


def _differs(sent: Mapping[str, object], answered: Mapping[str, object], field: str) -> bool:
    ours, theirs = _comparable(sent.get(field), field), _comparable(answered.get(field), field)
    return bool(ours and theirs and ours != theirs)


def _comparable(value: object, field: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value).strip().lower()
    return re.sub(r"\D", "", text) if field == "phone" else text


def _normal(message_type: str) -> str:
    lower = message_type.strip().lower()
    return _MESSAGE_TYPES.get(lower, lower)


def _text(value: object) -> str | None:
    return None if value is None else str(value) if isinstance(value, str) else ""
