"""The rules of Intercom for the body of `POST /messages`."""

from __future__ import annotations

import re
from typing import Any, Final

from intercom_provider.sandbox.error_reply import ErrorReply
from intercom_provider.sandbox.versions import (
    BACKDATING,
    COPIES,
    RECIPIENT_LISTS,
    SMS,
    WHATSAPP,
    Version,
    require_version,
)

_E164: Final = re.compile(r"\+[1-9]\d{6,14}")
# The published description shows that an SMS with this address is refused, without a rule behind it.
_REFUSED_IN_SMS: Final = "https://picsum.photos/"
# The version that added each field; the others are older than the oldest version.
_FIELD_VERSIONS: Final = {"cc": COPIES, "bcc": COPIES, "created_at": BACKDATING}


def check_message(wire: dict[str, Any], version: Version) -> None:
    """Check a message by Intercom's rules, in Intercom's order.

    :param wire: the request's body.
    :param version: the request's version.
    :raises ErrorReply: 400 or 422, naming the field.
    """
    message_type = wire.get("message_type")
    if not isinstance(message_type, str) or message_type not in _CHECKS:
        raise _invalid("message_type", "message_type must be inapp, email, whatsapp or sms")
    if message_type == "whatsapp":
        require_version(WHATSAPP, version)
    if message_type == "sms":
        require_version(SMS, version)
    for field, minimum in _FIELD_VERSIONS.items():
        if wire.get(field) is not None and version < minimum:
            needed = ".".join(map(str, minimum))
            raise _invalid(field, f"{field} is not available in this API version: it needs {needed}")
    _check_sender(wire)
    _CHECKS[message_type](wire)
    for field in ("to", "cc", "bcc"):
        _check_recipients(wire, field, version)
    if not isinstance(wire.get("created_at", 0), int) or isinstance(wire.get("created_at"), bool):
        raise _invalid("created_at", "created_at must be a unix timestamp")
    if not isinstance(wire.get("create_conversation_without_contact_reply", False), bool):
        raise _invalid("create_conversation_without_contact_reply", "It must be true or false")


def recipients_of(wire: dict[str, Any], field: str = "to") -> list[dict[str, Any]]:
    """Return the recipients in a field of a checked message.

    :param wire: the message.
    :param field: `to`, `cc` or `bcc`.
    """
    value = wire.get(field)
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _check_sender(wire: dict[str, Any]) -> None:
    sender = wire.get("from")
    if not isinstance(sender, dict):
        raise _missing("from", "No sender supplied: from must be {type: admin, id}")
    if not isinstance(sender.get("id"), str | int):
        raise _missing("from", "No id supplied for the sender")


def _check_inapp(wire: dict[str, Any]) -> None:
    _check_body(wire)


def _check_email(wire: dict[str, Any]) -> None:
    if not isinstance(wire.get("subject"), str) or not wire["subject"]:
        raise _missing("subject", "No subject supplied for email message")
    _check_body(wire)
    if wire.get("template") not in ("plain", "personal"):
        raise _invalid("template", "template must be plain or personal")


def _check_whatsapp(wire: dict[str, Any]) -> None:
    if not isinstance(wire.get("template"), str) or not wire["template"]:
        raise _missing("template", "No template supplied for WhatsApp message")
    if not isinstance(wire.get("components"), list):
        raise _missing("components", "No components supplied for WhatsApp message")


def _check_sms(wire: dict[str, Any]) -> None:
    body = wire.get("body")
    if not isinstance(body, str) or not body.strip() or _REFUSED_IN_SMS in body:
        raise _invalid("body", "Invalid SMS message body")


_CHECKS: Final = {
    "inapp": _check_inapp,
    "in_app": _check_inapp,
    "email": _check_email,
    "whatsapp": _check_whatsapp,
    "sms": _check_sms,
}


def _check_body(wire: dict[str, Any]) -> None:
    if not isinstance(wire.get("body"), str) or not wire["body"].strip():
        raise _invalid("body", "Body is required")


def _check_recipients(wire: dict[str, Any], field: str, version: Version) -> None:
    value = wire.get(field)
    if value is None or value == []:
        if field == "to":
            raise _missing("to", "No recipient supplied")
        return
    if isinstance(value, list) and (version < RECIPIENT_LISTS or wire["message_type"] == "whatsapp"):
        raise _invalid(field, f"{field} must be one recipient")
    for recipient in recipients_of(wire, field):
        if not isinstance(recipient, dict):
            raise _invalid(field, f"{field} must hold objects")
        if wire["message_type"] == "whatsapp":
            if not isinstance(recipient.get("phone"), str) or not _E164.fullmatch(recipient["phone"]):
                raise _invalid(field, "phone must be a string like +447700900123")
            continue
        if recipient.get("type") not in ("user", "lead"):
            raise _invalid(field, "type must be user or lead")
        if not any(isinstance(recipient.get(key), str | int) for key in ("id", "user_id", "email")):
            raise _invalid(field, "A recipient needs an id, a user_id or an email")


def _invalid(field: str, message: str) -> ErrorReply:
    return ErrorReply(400, "parameter_invalid", message, field)


def _missing(field: str, message: str) -> ErrorReply:
    return ErrorReply(422, "parameter_not_found", message, field)
