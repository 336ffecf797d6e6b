"""Reading which messages a sensor is for: a ruleset, WhatsApp ids, or what senders left in XCom."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from intercom_provider.api.errors import IntercomError, InvalidInputError
from intercom_provider.api.json_text import parse_json_text
from intercom_provider.api.values import is_missing, is_single_word, read_id

if TYPE_CHECKING:
    from intercom_provider.results.message_ids import Piece
    from intercom_provider.results.reader import Key, MessageResult, TryResults

log = logging.getLogger(__name__)

Keys: TypeAlias = "dict[str, Key]"
"""WhatsApp ids, with the user's own ids of the same messages."""

Row: TypeAlias = dict[str, Any]


class KeyLookup(Protocol):
    """Returns the key of a message by its WhatsApp id, at least while a poll sees the message."""

    def get(self, whatsapp_message_id: str, /) -> Key:
        """Return the key; None when there is none."""


class _NoKeys:
    """The lookup of messages without keys; unlike a mapping proxy, it can be copied with the sensor that holds it."""

    def get(self, whatsapp_message_id: str, /) -> Key:  # noqa: ARG002 - as KeyLookup has it
        return None


class Sent(NamedTuple):
    """
    The messages that senders left in XCom.

    :param ids: The WhatsApp ids of messages whose status can be asked for.
    :param keys: The keys of these messages.
    :param rows_without_id: A row for each message without a WhatsApp id; can be iterated several times.
    :param never_sent: How many messages without an id were not sent, and so have failed.
    :param untrackable: How many messages without an id may have been sent.
    """

    ids: Sequence[str] = ()
    keys: KeyLookup = _NoKeys()
    rows_without_id: Iterable[Row] = ()
    never_sent: int = 0
    untrackable: int = 0


MAX_SINGLE_MESSAGES: Final = 1_000

_BATCH_COUNTS: Final = (
    "sent",
    "already_sent",
    "claimed",
    "rejected",
    "not_sent",
    "unconfirmed",
    "expired",
    "suppressed",
    "duplicates",
    "dry_run",
)
# Nothing was sent, so the message has failed.
_NEVER_SENT: Final = ("rejected", "not_sent", "expired")
# A duplicate stands for a message that another line holds, a claimed one is for the run that sends it to wait for, and
# neither a suppressed one nor a dry run leaves anything to wait for.
_NO_MESSAGE: Final = ("duplicate", "claimed", "suppressed", "dry_run")


def read_ruleset_id(value: object) -> str | None:
    """
    Read a ruleset's id.

    :param value: The field ``ruleset_id``.
    :return: The id; None when it is missing.
    :raises InvalidInputError: When it is not an id.
    """
    if is_missing(value):
        return None
    return read_id("ruleset_id", value, "must be one ruleset's id, as text or a whole number")


def read_message_ids(value: object) -> Keys:
    """
    Read WhatsApp ids.

    :param value: The field ``whatsapp_message_id``: one id or a sequence of ids.
    :return: The ids, each once, without keys.
    :raises InvalidInputError: When an entry is not an id, or when there are more than 1,000.
    """
    if is_missing(value):
        return {}
    ids: Keys = {_message_id("whatsapp_message_id", entry): None for entry in _flat("whatsapp_message_id", value)}
    if len(ids) > MAX_SINGLE_MESSAGES:
        raise InvalidInputError.of(
            "whatsapp_message_id",
            f"at most {MAX_SINGLE_MESSAGES:,} messages are asked for one by one; watch a ruleset, or split them",
        )
    return ids


def _flat(field: str, value: object) -> Iterator[object]:
    """Yield the entries of a value, however deep its lists are nested: outputs of mapped tasks are lists, too."""
    data = parse_json_text(field, value)
    if isinstance(data, list):
        for entry in data:
            yield from _flat(field, entry)
    else:
        yield data


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


def read_sent(value: object, *, parsing: bool = False) -> Sent:
    """
    Read the messages that senders left in XCom.

    :param value: The field ``sent``: the output of a single sender or of a batch, or sequences of these, also nested.
    :param parsing: Whether a DAG is being parsed (default False): then batches' results are not read.
    :return: The messages. Above 1,000, ids and rows are read from the batches' results whenever they are needed.
    :raises InvalidInputError: When it is not such an output, or when the results of a large batch are missing.
    :raises UnreachableError: When the results cannot be read for a reason that may pass.
    """
    if is_missing(value):
        return Sent()
    entries = [_read_output(entry) for entry in _flat("sent", value)]
    batches = [] if parsing else [entry for entry in entries if isinstance(entry, _Batch)]
    reader = _SentReader(streamed=sum(batch.total for batch in batches) > MAX_SINGLE_MESSAGES)
    for entry in entries:
        if not isinstance(entry, _Batch):
            reader.add_single(entry)
        elif not parsing:
            reader.add_batch(entry)
    return reader.sent()


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
    """The output of a batch in XCom."""

    total: int
    accepted: int
    never_sent: int
    unconfirmed: int
    ids: tuple[str, ...] | None
    reasons: tuple[tuple[str, int], ...]
    folder: str | None
    try_number: int | None

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> _Batch:
        """Read the output; raise :class:`InvalidInputError` when it is incomplete or lacks the ids."""
        ids = entry["whatsapp_message_ids"]
        try:
            batch = cls(
                total=sum(int(entry[name]) for name in _BATCH_COUNTS),
                accepted=int(entry["sent"]) + int(entry["already_sent"]),
                never_sent=sum(int(entry[name]) for name in _NEVER_SENT),
                unconfirmed=int(entry["unconfirmed"]),
                ids=None if ids is None else tuple(_message_id("sent", each) for each in ids if not is_missing(each)),
                reasons=tuple(
                    (str(each["reason"]), int(each["count"]))
                    for each in entry.get("reasons") or ()
                    if each.get("outcome", _NEVER_SENT[0]) in _NEVER_SENT
                ),
                folder=None if is_missing(entry.get("results_path")) else str(entry["results_path"]),
                try_number=None if is_missing(entry.get("results_try")) else int(entry["results_try"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, InvalidInputError):
                raise
            raise InvalidInputError.of("sent", f"holds a batch's output that is not whole ({error!r})") from None
        if batch.ids is None and batch.folder is None and batch.accepted:
            raise InvalidInputError.of(
                "sent",
                f"holds a batch with more than {MAX_SINGLE_MESSAGES:,} WhatsApp ids, which are not in XCom: "
                "set results_path on the batch",
            )
        return batch

    def results(self, folder: str) -> TryResults:
        """Find the results of the try that left this output, although another may be newer."""
        from intercom_provider.results.reader import TryResults

        if self.try_number is None:
            return TryResults.of_last_try(folder, self.total)
        return TryResults.of_try(folder, self.try_number, self.total)

    def check(self, ids: int) -> None:
        """Raise :class:`InvalidInputError` when messages were sent, but not one has a WhatsApp id."""
        if self.accepted and not ids:
            raise InvalidInputError.of(
                "sent",
                f"holds a batch that sent {self.accepted:,} messages and got no WhatsApp id: only WhatsApp messages "
                "have a delivery status",
            )


class _SentReader:
    """
    Collects the messages of several outputs.

    :param streamed: Whether batches' results are read whenever they are needed, and not held in memory.
    """

    def __init__(self, *, streamed: bool) -> None:
        self._streamed = streamed
        self._pieces: list[Piece] = []
        self._held: Keys = {}
        self._rows = _RowsWithoutId()
        self._only_in_xcom = self._in_results = 0

    def add_single(self, entry: Mapping[str, Any]) -> None:
        """Add the output of a single send."""
        if not is_missing(entry.get("whatsapp_message_id")):
            self._hold({_message_id("sent", entry["whatsapp_message_id"]): entry.get("key")})
        elif entry["outcome"] not in _NO_MESSAGE:
            row = _row_without_id(entry["outcome"], entry.get("reason"), entry.get("key"), entry.get("conversation_id"))
            self._rows.hold([row])

    def add_batch(self, batch: _Batch) -> None:
        """Add the output of a batch, with its results if it has any."""
        if batch.folder is not None:
            from intercom_provider.results.message_ids import explain_read_errors

            try:
                with explain_read_errors(batch.folder):
                    self._add_results(batch, batch.results(batch.folder))
            except IntercomError as error:
                if batch.ids is None or self._only_in_xcom + len(batch.ids) > MAX_SINGLE_MESSAGES:
                    raise
                log.warning("keys and reasons are not known: %s", error)
            else:
                return
        if batch.ids is not None:
            batch.check(len(batch.ids))
            self._hold(dict.fromkeys(batch.ids))
        self._rows.hold(_rows_without_results(batch))

    def sent(self) -> Sent:
        """Return the messages that were added."""
        ids: Sequence[str] = tuple(self._held)
        keys: KeyLookup = self._held
        if self._streamed:
            from intercom_provider.results.message_ids import StreamedIds

            ids = keys = StreamedIds(self._pieces, self._in_results + self._only_in_xcom)
        return Sent(ids, keys, self._rows, self._rows.never_sent, self._rows.untrackable)

    def _add_results(self, batch: _Batch, results: TryResults) -> None:
        ids: Keys = {}
        rows: list[Row] = []
        number = never_sent = untrackable = 0
        for line in results.lines():
            if line.whatsapp_message_id is not None:
                id_ = _message_id("sent", line.whatsapp_message_id)
                number += 1
                if not self._streamed:
                    ids[id_] = line.key
            elif line.outcome not in _NO_MESSAGE:
                row = _row_of(line)
                never_sent += row["status"] == "failed"
                untrackable += row["status"] != "failed"
                if not self._streamed:
                    rows.append(row)
        batch.check(number)
        if not self._streamed:
            # The order of XCom is the same in every process. That of the results may change with a new try.
            self._held |= {each: ids.get(each) for each in batch.ids} if batch.ids is not None else ids
            self._rows.hold(rows)
        elif results not in self._pieces:
            self._pieces.append(results)
            self._in_results += number
            self._rows.stream(results, never_sent, untrackable)

    def _hold(self, ids: Keys) -> None:
        """Hold ids that are only in XCom; there may be no more than 1,000, because they travel with the trigger."""
        new = {id_: key for id_, key in ids.items() if id_ not in self._held}
        self._only_in_xcom += len(new)
        if self._only_in_xcom > MAX_SINGLE_MESSAGES:
            raise InvalidInputError.of(
                "sent",
                f"holds more than {MAX_SINGLE_MESSAGES:,} messages: watch a ruleset, or send them with "
                "SendMessageBatchOperator and results_path, from where any number is read",
            )
        self._held |= ids
        self._pieces.append(new)


class _RowsWithoutId:
    """Rows of messages without a WhatsApp id; some are held, others are read from results in each iteration."""

    def __init__(self) -> None:
        self.never_sent = self.untrackable = 0
        self._held: list[Row] = []
        self._results: list[TryResults] = []

    def __iter__(self) -> Iterator[Row]:
        yield from self._held
        if self._results:
            from intercom_provider.results.message_ids import explain_read_errors
        for results in self._results:
            with explain_read_errors(results.folder):
                for line in results.lines():
                    if line.whatsapp_message_id is None and line.outcome not in _NO_MESSAGE:
                        yield _row_of(line)

    def hold(self, rows: list[Row]) -> None:
        """Add rows that are held."""
        never_sent = sum(row["status"] == "failed" for row in rows)
        self.never_sent += never_sent
        self.untrackable += len(rows) - never_sent
        self._held += rows

    def stream(self, results: TryResults, never_sent: int, untrackable: int) -> None:
        """Add results that are read in each iteration, and how many rows they have."""
        self.never_sent += never_sent
        self.untrackable += untrackable
        self._results.append(results)


def _row_of(line: MessageResult) -> Row:
    return _row_without_id(line.outcome, line.reason, line.key)


def _rows_without_results(batch: _Batch) -> list[Row]:
    """Return the rows of a batch of which only the output in XCom is known."""
    texts = [reason for reason, _ in batch.reasons]
    if sum(count for _, count in batch.reasons) == batch.never_sent:
        reasons = batch.reasons
    else:
        reasons = ((f"one of: {'; '.join(texts)}" if texts else "not known", batch.never_sent),)
    without_id = 0 if batch.ids is None else max(0, batch.accepted - len(batch.ids))
    rows = [(_row_without_id("rejected", reason), count) for reason, count in reasons]
    rows += [(_row_without_id("unconfirmed"), batch.unconfirmed), (_row_without_id("sent"), without_id)]
    # Equal rows share one dictionary, because a batch can have very many of them.
    return [row for row, count in rows for _ in range(count)]


def _row_without_id(outcome: object, reason: object = None, key: object = None, conversation_id: object = None) -> Row:
    # A message that may have been sent has not failed, although its status can never be asked for.
    return {
        "whatsapp_message_id": None,
        "key": key,
        "conversation_id": conversation_id,
        "user_id": None,
        "status": "failed" if outcome in _NEVER_SENT else "sent",
        "reason": reason or f"the send's outcome was {outcome}, without a WhatsApp id",
        "template_name": None,
        "updated_at": None,
    }
