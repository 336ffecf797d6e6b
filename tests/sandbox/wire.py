"""Valid bodies of `POST /messages`, with fields to override."""

from __future__ import annotations

from typing import Any

ADMIN = {"type": "admin", "id": 814860}
ADA = {"type": "user", "id": "ada"}


def in_app(**fields: object) -> dict[str, Any]:
    return {"message_type": "inapp", "body": "Hello", "from": ADMIN, "to": ADA, **fields}


def email(**fields: object) -> dict[str, Any]:
    return {**in_app(), "message_type": "email", "subject": "News", "template": "plain", **fields}


def sms(**fields: object) -> dict[str, Any]:
    return {**in_app(), "message_type": "sms", **fields}


def whatsapp(phone: str = "+447700900123", **fields: object) -> dict[str, Any]:
    return {
        "message_type": "whatsapp",
        "from": ADMIN,
        "to": {"phone": phone, "name": "Ada"},
        "template": "order_shipped",
        "components": [{"type": "BODY", "parameters": [{"type": "text", "text": "A-17"}]}],
        **fields,
    }
