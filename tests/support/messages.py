"""Fields of messages, complete and valid, to vary."""

from __future__ import annotations

from typing import Any

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.message import Message, parse_message

ADA = {"type": "user", "id": "ada"}
BOB = {"type": "lead", "user_id": "bob"}
COMPONENTS = [{"type": "BODY", "parameters": [{"type": "text", "text": "A-17"}]}]


def in_app(**fields: Any) -> dict[str, Any]:
    return {"message_type": "in_app", "to": ADA, "body": "Hello", **fields}


def email(**fields: Any) -> dict[str, Any]:
    return {**in_app(), "message_type": "email", "subject": "News", **fields}


def sms(**fields: Any) -> dict[str, Any]:
    return {**in_app(), "message_type": "sms", **fields}


def whatsapp(**fields: Any) -> dict[str, Any]:
    return {
        "message_type": "whatsapp",
        "to": {"phone": "+447700900123", "name": "Ada"},
        "template": "order_shipped",
        "components": COMPONENTS,
        **fields,
    }


def parsed(fields: dict[str, Any]) -> Message:
    return parse_message(fields)


def problems_of(fields: dict[str, Any]) -> dict[str, str]:
    """Parse wrong fields; return the problem of each."""
    try:
        parse_message(fields)
    except InvalidInputError as error:
        return {problem.field: problem.text for problem in error.problems}
    return {}
