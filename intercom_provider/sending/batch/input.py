"""The input of a batch: read once, judged whole before the first message is sent, handed out one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, get_args

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.message import MESSAGE_FIELDS, parse_message
from intercom_provider.api.values import is_missing, parse_json_text
from intercom_provider.fields import is_untemplated
from intercom_provider.ledger.ledger import message_digest
from intercom_provider.sending.batch.defaults import CompletedMessage, Defaults
from intercom_provider.sending.batch.source import Listed, Record, open_source
from intercom_provider.sending.batch.validation import Findings, apply_defaults, build_message

if TYPE_CHECKING:
    from types import TracebackType

    from intercom_provider.api.message import Message
    from intercom_provider.api.settings import Settings
    from intercom_provider.sending.batch.source import Source

Duplicates: TypeAlias = Literal["skip", "send", "fail"]

DUPLICATES: Final = get_args(Duplicates)

_MOST_LITERALS: Final = 100


@dataclass(frozen=True, slots=True)
class Item:
    """
    One message of a batch.

    :param index: Its position in the input, from 0; blank lines do not count.
    :param digest: Names it in the ledger, and tells nothing about whom it goes to.
    :param message: The message; None when it cannot be built.
    :param refusal: Why it cannot; else None.
    :param key: The user's own id for it.
    :param duplicate_of: The index of the first one with the same identity, when it is not to be sent again.
    """

    index: int
    digest: str
    message: Message | None
    refusal: str | None
    key: str | int | None
    duplicate_of: int | None = None


class BatchInput:
    """
    The messages of a batch. A context manager, since it may hold a file.

    :param messages: A list or another sequence, its JSON as text, or the path or URI of JSON Lines.
    :param defaults: What fills what a message leaves out: an object, its JSON as text, or None.
    :param duplicates: What the same identity twice means: the later is skipped (``skip``), sent under an identity
        of its own (``send``), or an error (``fail``).
    :param salt: What makes the identities other ones in another run.
    :param settings: The API version and the default sender.
    """

    def __init__(
        self, messages: object, defaults: object, *, duplicates: Duplicates | str, salt: str, settings: Settings
    ) -> None:
        self._messages = messages
        self._given_defaults = defaults
        self._duplicates = duplicates
        self._salt = salt
        self._settings = settings
        self._source: Source | None = None
        self._defaults = Defaults(None)
        self._repeated: set[bytes] = set()
        self._checked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._source is not None:
            self._source.close()

    def check(self) -> int:
        """
        Read and judge all of it.

        :return: How many messages there are.
        :raises InvalidInputError: With the first ten things that are wrong and where, and how many more there are.
        """
        self._defaults = Defaults(self._given_defaults)
        self._source = source = open_source(self._messages)
        findings = Findings()
        seen: set[bytes] = set()
        count = 0
        for index, record in enumerate(source):
            count += 1
            item = self._item(source, index, record, findings)
            if item is not None and self._counts(item):
                digest = bytes.fromhex(item.digest)
                (self._repeated if digest in seen else seen).add(digest)
        del seen
        if self._duplicates == "fail" and self._repeated:
            self._refuse_repeated(source, findings)
        findings.raise_any()
        self._checked = True
        return count

    def __iter__(self) -> Iterator[Item]:
        """
        Hand out the messages in their order, as they were judged, each built when it is asked for.

        :return: The messages.
        :raises RuntimeError: When they have not been judged.
        """
        if not self._checked or self._source is None:
            raise RuntimeError("check() comes first")
        first: dict[bytes, tuple[int, int]] = {}
        for index, record in enumerate(self._source):
            findings = Findings()
            item = self._item(self._source, index, record, findings)
            findings.raise_any()
            if item is None or not self._is_repeated(item):
                if item is not None:
                    yield item
                continue
            digest = bytes.fromhex(item.digest)
            whose, before = first.get(digest, (index, 0))
            first[digest] = (whose, before + 1)
            if before and self._duplicates == "skip":
                item = replace(item, duplicate_of=whose)
            elif before:
                item = replace(item, digest=f"{item.digest}#{before + 1}")
            yield item

    def _item(self, source: Source, index: int, record: Record, findings: Findings) -> Item | None:
        """Build a message; None when something is wrong, which the findings tell."""
        filled = apply_defaults(source, record, self._defaults, findings)
        if filled is None:
            return None
        message = build_message(source, record, filled, findings, settings=self._settings)
        if filled.missing:
            return self._refused(index, filled)
        if message is None:
            return None
        return Item(index, self._identity(message), message, None, message.key)

    def _refused(self, index: int, filled: CompletedMessage) -> Item:
        names = ", ".join(f"params.{name}" for name in filled.missing)
        refusal = f"{names} {'is' if len(filled.missing) == 1 else 'are'} missing"
        message = None
        # Whom it goes to may be known all the same: without what cannot be read because of a param.
        for fields in (filled.fields, {n: value for n, value in filled.fields.items() if n not in filled.unfilled}):
            try:
                message = parse_message(fields)
            except InvalidInputError:
                continue
            break
        if message is not None and (message.key is not None or "to" not in filled.unfilled):
            return Item(index, self._identity(message), None, refusal, message.key)
        key = filled.fields.get("key")
        key = key.strip() if isinstance(key, str) else key
        named = message_digest(key=key, message_type="position", recipients=index, salt=self._salt)
        return Item(index, named, None, refusal, key)

    def _identity(self, message: Message) -> str:
        return message_digest(
            key=message.key, message_type=message.wire_type, recipients=message.recipients, salt=self._salt
        )

    def _counts(self, item: Item) -> bool:
        # One that is not sent must not keep the next one from being sent; where both are, it keeps its place.
        return item.refusal is None or self._duplicates != "skip"

    def _is_repeated(self, item: Item) -> bool:
        return bool(self._repeated) and self._counts(item) and bytes.fromhex(item.digest) in self._repeated

    def _refuse_repeated(self, source: Source, findings: Findings) -> None:
        first: dict[str, int] = {}
        for index, record in enumerate(source):
            item = self._item(source, index, record, Findings())
            if item is None or not self._is_repeated(item):
                continue
            if item.digest in first:
                findings.add(
                    source.where(record.number),
                    f"is the same as {source.where(first[item.digest])}, by its key or else by its type and "
                    'recipient: remove one, give each a key of its own, or set duplicates to "skip" or "send"',
                )
            first.setdefault(item.digest, record.number)


def check_literals(messages: object, defaults: object) -> None:
    """
    Find what is wrong already when a DAG is parsed; nothing is read from storage or asked of the connection.

    :param messages: As the operator gets them: of a list, the first hundred messages are judged.
    :param defaults: As the operator gets them; what is a template in them is left alone.
    :raises InvalidInputError: When something is wrong.
    """
    known, lazy = _known_defaults(defaults)
    findings = Findings()
    listed = _known_messages(messages)
    records = list(islice(listed, _MOST_LITERALS))
    if not records:
        # The defaults alone, as a message that leaves everything out, of which only what is there is looked at.
        listed, records = Listed([{}]), [Record(0, {})]
        lazy |= {*MESSAGE_FIELDS} - known.apply_defaults({}).shared
    for record in records:
        own = record.fields or {}
        unknown = {name for name, value in own.items() if not _is_plain(value)}
        blank: dict[str, Any] = {name: {} if name == "params" else None for name in unknown}
        filled = apply_defaults(listed, record._replace(fields=record.fields and {**own, **blank}), known, findings)
        unsure = unknown | (lazy - {name for name, value in own.items() if not is_missing(value)})
        if filled is not None and "message_type" not in unsure:
            build_message(listed, record, filled, findings, unsure=unsure)
    findings.raise_any()


def _known_messages(value: object) -> Listed:
    """Tell the messages as far as they are known when a DAG is parsed."""
    is_template = isinstance(value, str) and not is_untemplated(value)
    # Of anything else, such as another task's output, nothing can be said before the task runs.
    if is_template or not isinstance(value, str | bytes | int | float | list | tuple | Mapping | Iterator | None):
        return Listed([])
    with closing(open_source(value)) as source:
        return source if isinstance(source, Listed) else Listed([])


def _known_defaults(value: object) -> tuple[Defaults, set[str]]:
    """Tell the defaults as far as they are known when a DAG is parsed, and the fields of which nothing is known."""
    is_template = isinstance(value, str) and not is_untemplated(value)
    if is_template or not isinstance(value, str | bytes | int | float | list | tuple | Mapping | None):
        return Defaults({"params": {}}), {*MESSAGE_FIELDS, "params"}
    data = parse_json_text(value)
    if not isinstance(data, Mapping):
        return Defaults(data), set()
    lazy = {name for name, entry in data.items() if not is_untemplated(entry)}
    return Defaults({**data, **{name: {} if name == "params" else None for name in lazy}}), lazy


def _is_plain(value: object) -> bool:
    """Tell whether a value in a list is what it will be: the list's contents are no templates."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, str | int | float | Decimal | date)
