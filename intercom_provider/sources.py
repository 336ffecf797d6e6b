"""Which messages a sensor watches: a ruleset, WhatsApp ids, or what senders left in XCom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.values import as_data, is_missing

Keys: TypeAlias = dict[str, str | int | None]
"""WhatsApp ids and the user's own ids of the same messages."""

Row: TypeAlias = dict[str, Any]

_MOST_MESSAGES: Final = 1_000


def read_ruleset_id(value: object) -> str | None:
    """
    Read a ruleset's id.

    :param value: What stands in ``ruleset_id``.
    :return: The id; None when it is missing.
    :raises InvalidInputError: When it is no id.
    """
    if is_missing(value):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value).split()) != 1:
        raise InvalidInputError.of("ruleset_id", "must be one ruleset's id, as text or a whole number")
    return str(value).strip()


def read_message_ids(value: object) -> Keys:
    """
    Read WhatsApp ids.

    :param value: What stands in ``whatsapp_message_id``: one id or a sequence of them.
    :return: The ids, each once, with no key.
    :raises InvalidInputError: When one is none, or they are too many.
    """
    if is_missing(value):
        return {}
    data = as_data(value)
    entries = data if isinstance(data, list) else [data]
    return _not_too_many("whatsapp_message_id", {_message_id("whatsapp_message_id", entry): None for entry in entries})


def _message_id(name: str, value: object) -> str:
    if is_missing(value):
        raise InvalidInputError.of(
            name, "holds a message without an id (it was not accepted): give sent=send.output, which knows why"
        )
    if not isinstance(value, str) or len(value.split()) != 1:
        raise InvalidInputError.of(name, "must be WhatsApp's ids (wamid...), each as text")
    if value.strip().isdigit():
        raise InvalidInputError.of(
            name, "is a number, so it is the message's id: give the whatsapp_message_id (wamid...) of the send"
        )
    return value.strip()


def _not_too_many(name: str, ids: Keys) -> Keys:
    if len(ids) > _MOST_MESSAGES:
        raise InvalidInputError.of(
            name, f"at most {_MOST_MESSAGES:,} messages are asked for one by one; watch a ruleset, or split them"
        )
    return ids


def read_sent(value: object) -> tuple[Keys, tuple[Row, ...]]:
    """
    Find the WhatsApp ids in what senders left in XCom, and those messages that have none.

    :param value: What stands in ``sent``: one output or a sequence of them.
    :return: The ids with their keys, and a row for each message that can not be followed.
    :raises InvalidInputError: When it is no such output.
    """
    if is_missing(value):
        return {}, ()
    data = as_data(value)
    ids: Keys = {}
    without: list[Row] = []
    for entry in data if isinstance(data, list) else [data]:
        if not isinstance(entry, Mapping) or "outcome" not in entry:
            raise InvalidInputError.of("sent", "must be what a SendMessageOperator left in XCom: send.output")
        if entry.get("message_type") != "whatsapp":
            raise InvalidInputError.of(
                "sent", f"a message of type {entry.get('message_type')} has no delivery status; only whatsapp has"
            )
        if not is_missing(entry.get("whatsapp_message_id")):
            ids[_message_id("sent", entry["whatsapp_message_id"])] = entry.get("key")
        elif entry["outcome"] != "dry_run":
            without.append(_row_without_id(entry))
    return _not_too_many("sent", ids), tuple(without)


def _row_without_id(entry: Mapping[str, Any]) -> Row:
    # What was never sent has failed. What may have been sent has not: it can only not be followed.
    failed = entry["outcome"] in ("rejected", "expired")
    return {
        "whatsapp_message_id": None,
        "key": entry.get("key"),
        "conversation_id": entry.get("conversation_id"),
        "user_id": None,
        "status": "failed" if failed else "sent",
        "reason": entry.get("reason") or f"the send's outcome was {entry['outcome']}, without a WhatsApp id",
        "template_name": None,
        "updated_at": None,
    }
