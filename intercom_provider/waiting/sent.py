"""Which messages a sensor watches: a ruleset, WhatsApp ids, or what senders left in XCom."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from intercom_provider.api.errors import IntercomError, InvalidInputError
from intercom_provider.api.values import is_missing, is_single_word, parse_json_text

if TYPE_CHECKING:
    from intercom_provider.results.message_ids import Piece
    from intercom_provider.results.reader import Key, MessageResult, TryResults

log = logging.getLogger(__name__)

Keys: TypeAlias = "dict[str, Key]"
"""WhatsApp ids and the user's own ids of the same messages."""

Row: TypeAlias = dict[str, Any]


class KeyOf(Protocol):
    """Knows the key of a message by its WhatsApp id, at least while a look is at it."""

    def get(self, whatsapp_message_id: str, /) -> Key:
        """Give the key; None when there is none."""


class Sent(NamedTuple):
    """
    What senders left.

    :param ids: The WhatsApp ids of the messages that can be followed.
    :param keys: Their keys.
    :param not_sent: A row for each message that can not be followed; may be read several times.
    :param refused: How many of these were refused, and so have failed.
    :param untraceable: How many of these were sent, perhaps.
    """

    ids: Sequence[str] = ()
    keys: KeyOf = MappingProxyType({})
    not_sent: Iterable[Row] = ()
    refused: int = 0
    untraceable: int = 0


_MOST_MESSAGES: Final = 1_000
_OUTCOMES: Final = ("sent", "already_sent", "rejected", "not_sent", "unconfirmed", "expired", "duplicates", "dry_run")
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
    if isinstance(value, bool) or not isinstance(value, str | int) or not is_single_word(str(value)):
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
    data = parse_json_text(value)
    entries = data if isinstance(data, list) else [data]
    return _not_too_many("whatsapp_message_id", {_message_id("whatsapp_message_id", entry): None for entry in entries})


def _message_id(name: str, value: object) -> str:
    if is_missing(value):
        raise InvalidInputError.of(
            name, "holds a message without an id (it was not accepted): give sent=send.output, which knows why"
        )
    if not isinstance(value, str) or not is_single_word(value):
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


def read_sent(value: object, *, parsing: bool = False) -> Sent:
    """
    Find the WhatsApp ids in what senders left in XCom, and those messages that have none.

    :param value: What stands in ``sent``: the output of a single sender or of a batch, or a sequence of them.
    :param parsing: Whether a DAG is being parsed: then no batch's parts are read (default False).
    :return: What they left. Of more than 1,000 messages ids and rows are read from the batches' parts each
        time that they are wanted.
    :raises InvalidInputError: When it is no such output, or the parts of a large batch are not there.
    :raises UnreachableError: When they can not be read for another reason, which may pass.
    """
    if is_missing(value):
        return Sent()
    data = parse_json_text(value)
    entries = [_read_output(entry) for entry in (data if isinstance(data, list) else [data])]
    batches = [] if parsing else [entry for entry in entries if isinstance(entry, _Batch)]
    found = _SentReader(streamed=sum(batch.done for batch in batches) > _MOST_MESSAGES)
    for entry in entries:
        if not isinstance(entry, _Batch):
            found.add_single(entry)
        elif not parsing:
            found.add_batch(entry)
    return found.sent()


def _read_output(entry: object) -> _Batch | Mapping[str, Any]:
    if isinstance(entry, Mapping) and "outcome" in entry:
        if entry.get("message_type") != "whatsapp":
            raise InvalidInputError.of(
                "sent", f"a message of type {entry.get('message_type')} has no delivery status; only whatsapp has"
            )
        return entry
    if isinstance(entry, Mapping) and "total" in entry and "whatsapp_message_ids" in entry:
        return _Batch.read(entry)
    raise InvalidInputError.of(
        "sent", "must be what a SendMessageOperator or SendMessageBatchOperator left in XCom: send.output"
    )


class _Batch(NamedTuple):
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
                failed=int(entry["rejected"]) + int(entry["not_sent"]) + int(entry["expired"]),
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

    def check(self, ids: int) -> None:
        """Refuse a batch of which nothing can be followed, as it was no WhatsApp messages."""
        if self.went and not ids:
            raise InvalidInputError.of(
                "sent",
                f"holds a batch that sent {self.went:,} messages and got no WhatsApp id: only WhatsApp messages have a "
                "delivery status",
            )


class _SentReader:
    """
    What was found in the outputs so far.

    :param streamed: Whether batches' parts are read wherever they are wanted, and not held.
    """

    def __init__(self, *, streamed: bool) -> None:
        self._streamed = streamed
        self._pieces: list[Piece] = []
        self._held: Keys = {}
        self._without = _UntrackedRows()
        self._only_in_xcom = self._in_parts = 0

    def add_single(self, entry: Mapping[str, Any]) -> None:
        if not is_missing(entry.get("whatsapp_message_id")):
            self._hold({_message_id("sent", entry["whatsapp_message_id"]): entry.get("key")})
        elif entry["outcome"] != "dry_run":
            row = _row_without_id(entry["outcome"], entry.get("reason"), entry.get("key"), entry.get("conversation_id"))
            self._without.hold([row])

    def add_batch(self, batch: _Batch) -> None:
        if batch.folder is not None:
            from intercom_provider.results.message_ids import explain_read_errors  # noqa: PLC0415
            from intercom_provider.results.reader import TryResults  # noqa: PLC0415 - not when a DAG is parsed

            try:
                with explain_read_errors(batch.folder):
                    self._add_parts(batch, TryResults.of_last_try(batch.folder, batch.done))
            except IntercomError as error:
                if batch.ids is None or self._only_in_xcom + len(batch.ids) > _MOST_MESSAGES:
                    raise
                log.warning("keys and reasons are not known: %s", error)
            else:
                return
        if batch.ids is not None:
            batch.check(len(batch.ids))
            self._hold(dict.fromkeys(batch.ids))
        self._without.hold(_rows_without_parts(batch))

    def sent(self) -> Sent:
        ids: Sequence[str] = tuple(self._held)
        keys: KeyOf = self._held
        if self._streamed:
            from intercom_provider.results.message_ids import StreamedIds  # noqa: PLC0415 - not when a DAG is parsed

            ids = keys = StreamedIds(self._pieces, self._in_parts + self._only_in_xcom)
        return Sent(ids, keys, self._without, self._without.refused, self._without.untraceable)

    def _add_parts(self, batch: _Batch, parts: TryResults) -> None:
        ids: Keys = {}
        rows: list[Row] = []
        number = refused = untraceable = 0
        for line in parts.lines():
            if line.whatsapp_message_id is not None:
                id_ = _message_id("sent", line.whatsapp_message_id)
                number += 1
                if not self._streamed:
                    ids[id_] = line.key
            elif line.outcome not in _NOT_MEANT_TO_GO:
                row = _row_of(line)
                refused += row["status"] == "failed"
                untraceable += row["status"] != "failed"
                if not self._streamed:
                    rows.append(row)
        batch.check(number)
        if not self._streamed:
            # In the order of XCom, where they are in both: it is the same wherever they are read.
            self._held |= {each: ids.get(each) for each in batch.ids} if batch.ids is not None else ids
            self._without.hold(rows)
        elif parts not in self._pieces:
            self._pieces.append(parts)
            self._in_parts += number
            self._without.read(parts, refused, untraceable)

    def _hold(self, ids: Keys) -> None:
        """Take in ids that are nowhere but in XCom; where they are many, they have to be read from parts."""
        new = {id_: key for id_, key in ids.items() if id_ not in self._held}
        self._only_in_xcom += len(new)
        if self._only_in_xcom > _MOST_MESSAGES:
            raise InvalidInputError.of(
                "sent",
                f"holds more than {_MOST_MESSAGES:,} messages: watch a ruleset, or send them with "
                "SendMessageBatchOperator and results_path, from where any number is read",
            )
        self._held |= ids
        self._pieces.append(new)


class _UntrackedRows:
    """Rows of messages that can not be followed: some are held, others read wherever they are wanted."""

    def __init__(self) -> None:
        self.refused = self.untraceable = 0
        self._held: list[Row] = []
        self._parts: list[TryResults] = []

    def __iter__(self) -> Iterator[Row]:
        yield from self._held
        if self._parts:
            from intercom_provider.results.message_ids import explain_read_errors  # noqa: PLC0415 - not when a DAG is parsed
        for parts in self._parts:
            with explain_read_errors(parts.folder):
                for line in parts.lines():
                    if line.whatsapp_message_id is None and line.outcome not in _NOT_MEANT_TO_GO:
                        yield _row_of(line)

    def hold(self, rows: list[Row]) -> None:
        refused = sum(row["status"] == "failed" for row in rows)
        self.refused += refused
        self.untraceable += len(rows) - refused
        self._held += rows

    def read(self, parts: TryResults, refused: int, untraceable: int) -> None:
        self.refused += refused
        self.untraceable += untraceable
        self._parts.append(parts)


def _row_of(line: MessageResult) -> Row:
    return _row_without_id(line.outcome, line.reason, line.key)


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
        "status": "failed" if outcome in ("rejected", "not_sent", "expired") else "sent",
        "reason": reason or f"the send's outcome was {outcome}, without a WhatsApp id",
        "template_name": None,
        "updated_at": None,
    }
