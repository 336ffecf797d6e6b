"""Which messages a sensor watches: a ruleset, WhatsApp ids, or what senders left in XCom."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.values import as_data, is_missing
from intercom_provider.batch.parts import Parts

log = logging.getLogger(__name__)

Keys: TypeAlias = dict[str, str | int | None]
"""WhatsApp ids and the user's own ids of the same messages."""

Row: TypeAlias = dict[str, Any]

_MOST_MESSAGES: Final = 1_000
_OUTCOMES: Final = ("sent", "already_sent", "rejected", "unconfirmed", "expired", "duplicates", "dry_run")
# The first of its duplicates stands for a message, and a dry run leaves nothing to wait for.
_NOT_MEANT_TO_GO: Final = ("duplicate", "dry_run")


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


def read_sent(value: object, *, parsing: bool = False) -> tuple[Keys, tuple[Row, ...]]:
    """
    Find the WhatsApp ids in what senders left in XCom, and those messages that have none.

    :param value: What stands in ``sent``: the output of a single sender or of a batch, or a sequence of them.
    :param parsing: Whether a DAG is being parsed: then no batch's parts are read (default False).
    :return: The ids with their keys, and a row for each message that can not be followed.
    :raises InvalidInputError: When it is no such output, or the parts of a large batch are not there.
    :raises OSError: When the parts of a large batch can not be read for another reason.
    """
    if is_missing(value):
        return {}, ()
    data = as_data(value)
    found = _Found()
    for entry in data if isinstance(data, list) else [data]:
        if isinstance(entry, Mapping) and "outcome" in entry:
            found.add_single(entry)
        elif isinstance(entry, Mapping) and "total" in entry and "whatsapp_message_ids" in entry:
            batch = _Batch.read(entry)
            if not parsing:
                found.add_batch(batch)
        else:
            raise InvalidInputError.of(
                "sent", "must be what a SendMessageOperator or SendMessageBatchOperator left in XCom: send.output"
            )
    return found.ids, tuple(found.without)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a batch left in XCom."""

    done: int
    went: int
    failed: int
    unconfirmed: int
    ids: tuple[str, ...] | None
    reasons: tuple[tuple[str, int], ...]
    folder: str | None

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> _Batch:
        ids = entry["whatsapp_message_ids"]
        try:
            batch = cls(
                done=sum(int(entry[name]) for name in _OUTCOMES),
                went=int(entry["sent"]) + int(entry["already_sent"]),
                failed=int(entry["rejected"]) + int(entry["expired"]),
                unconfirmed=int(entry["unconfirmed"]),
                ids=None if ids is None else tuple(_message_id("sent", each) for each in ids if not is_missing(each)),
                reasons=tuple((str(each["reason"]), int(each["count"])) for each in entry.get("reasons") or ()),
                folder=None if is_missing(entry.get("results_path")) else str(entry["results_path"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InvalidInputError):
                raise
            raise InvalidInputError.of("sent", f"holds a batch's output that is not whole ({error!r})") from None
        if batch.ids is None and batch.folder is None and batch.went:
            raise InvalidInputError.of(
                "sent",
                f"holds a batch with more than {_MOST_MESSAGES:,} WhatsApp ids, which are not in XCom: "
                "set results_path on the batch",
            )
        return batch


class _Found:
    """What was found in the outputs so far."""

    def __init__(self) -> None:
        self.ids: Keys = {}
        self.without: list[Row] = []
        self._only_in_xcom = 0

    def add_single(self, entry: Mapping[str, Any]) -> None:
        if entry.get("message_type") != "whatsapp":
            raise InvalidInputError.of(
                "sent", f"a message of type {entry.get('message_type')} has no delivery status; only whatsapp has"
            )
        if not is_missing(entry.get("whatsapp_message_id")):
            self._hold({_message_id("sent", entry["whatsapp_message_id"]): entry.get("key")})
        elif entry["outcome"] != "dry_run":
            self.without.append(
                _row_without_id(entry["outcome"], entry.get("reason"), entry.get("key"), entry.get("conversation_id"))
            )

    def add_batch(self, batch: _Batch) -> None:
        if batch.folder is not None:
            try:
                ids, without = _in_parts(batch, batch.folder)
            except Exception as error:
                if batch.ids is None or self._only_in_xcom + len(batch.ids) > _MOST_MESSAGES:
                    # What another look would find as well is for a person; a network may recover.
                    if isinstance(error, ValueError | ImportError | FileNotFoundError | NotADirectoryError):
                        raise InvalidInputError.of(
                            "sent", f"the batch's results_path {batch.folder} can not be read: {error}"
                        ) from None
                    raise
                log.warning("keys and reasons are not known, as %s can not be read: %s", batch.folder, error)
            else:
                _has_ids(batch, ids)
                self.ids |= ids
                self.without += without
                return
        if batch.ids is not None:
            _has_ids(batch, batch.ids)
            self._hold(dict.fromkeys(batch.ids))
        self.without += _rows_without_parts(batch)

    def _hold(self, ids: Keys) -> None:
        """Take in ids that are nowhere but in XCom; where they are many, they have to be read from parts."""
        self._only_in_xcom += len(ids.keys() - self.ids.keys())
        if self._only_in_xcom > _MOST_MESSAGES:
            raise InvalidInputError.of(
                "sent",
                f"holds more than {_MOST_MESSAGES:,} messages: watch a ruleset, or send them with "
                "SendMessageBatchOperator and results_path, from where any number is read",
            )
        self.ids |= ids


def _has_ids(batch: _Batch, ids: Collection[str]) -> None:
    if batch.went and not ids:
        raise InvalidInputError.of(
            "sent",
            f"holds a batch that sent {batch.went:,} messages and got no WhatsApp id: only WhatsApp messages have a "
            "delivery status",
        )


def _in_parts(batch: _Batch, folder: str) -> tuple[Keys, list[Row]]:
    ids: Keys = {}
    without: list[Row] = []
    for line in Parts.of_last_try(folder, batch.done).lines():
        if not is_missing(line.whatsapp_message_id):
            ids[_message_id("sent", line.whatsapp_message_id)] = line.key
        elif line.outcome not in _NOT_MEANT_TO_GO:
            without.append(_row_without_id(line.outcome, line.reason, line.key))
    # In the order of XCom, where they are in both: it is the same wherever they are read.
    return {each: ids.get(each) for each in batch.ids} if batch.ids is not None else ids, without


def _rows_without_parts(batch: _Batch) -> list[Row]:
    words = [reason for reason, _ in batch.reasons]
    if sum(count for _, count in batch.reasons) == batch.failed:
        why = batch.reasons
    else:
        why = ((f"one of: {'; '.join(words)}" if words else "not known", batch.failed),)
    lost = 0 if batch.ids is None else max(0, batch.went - len(batch.ids))
    rows = [(_row_without_id("rejected", reason), count) for reason, count in why]
    rows += [(_row_without_id("unconfirmed"), batch.unconfirmed), (_row_without_id("sent"), lost)]
    # One row stands for all that are alike.
    return [row for row, count in rows for _ in range(count)]


def _row_without_id(outcome: object, reason: object = None, key: object = None, conversation_id: object = None) -> Row:
    # What was never sent has failed. What may have been sent has not: it can only not be followed.
    return {
        "whatsapp_message_id": None,
        "key": key,
        "conversation_id": conversation_id,
        "user_id": None,
        "status": "failed" if outcome in ("rejected", "expired") else "sent",
        "reason": reason or f"the send's outcome was {outcome}, without a WhatsApp id",
        "template_name": None,
        "updated_at": None,
    }
