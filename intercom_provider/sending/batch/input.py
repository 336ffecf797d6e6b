"""The input of a batch: read once, checked as a whole before the first message is sent, then iterated over."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Self

from intercom_provider.api.cells import write_id
from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.json_text import parse_json_text
from intercom_provider.api.message import MESSAGE_FIELDS, parse_message
from intercom_provider.api.values import is_missing
from intercom_provider.fields import Duplicates, Invalid, is_untemplated
from intercom_provider.ledger.ledger import message_digest
from intercom_provider.sending.batch.defaults import BATCH_FIELDS, CompletedMessage, Defaults
from intercom_provider.sending.batch.source import InputRow, ListSource, open_source
from intercom_provider.sending.batch.validation import (
    Findings,
    RefusedMessage,
    RowFindings,
    apply_defaults,
    build_message,
    read_message_timezone,
)

if TYPE_CHECKING:
    from types import TracebackType

    from intercom_provider.api.message import Message
    from intercom_provider.api.settings import Settings
    from intercom_provider.sending.batch.source import MessageSource

MAX_SENDERS_LOOKED_UP: Final = 5
_MAX_LITERALS: Final = 100
_MAX_NAMED: Final = 10
_WITH_REJECT: Final = 'With invalid="reject" they would be rejected, each with its reason, and the others sent'
_WITH_REJECT_NONE: Final = 'With invalid="reject" all of them would be rejected, so mend them where they come from'

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """
    One message of a batch.

    :param index: Its position among the messages, from 0; blank lines do not count.
    :param number: Its index in a list, its line number in a file.
    :param digest: Its identity in the ledger, which reveals nothing about the recipient.
    :param message: The message; None when it cannot be built.
    :param refusal: Why it cannot be built; else None.
    :param key: The user's own id for it.
    :param duplicate_of: The index of the first message with the same identity, when this one is not to be sent.
    :param timezone: The time zone of the person whom it is for; None (default) where the message has none.
    """

    index: int
    number: int
    digest: str
    message: Message | None
    refusal: str | None
    key: str | int | None
    duplicate_of: int | None = None
    timezone: str | None = None


class BatchInput:
    """
    The messages of a batch. A context manager, since it may hold a file.

    :param messages: A list or another sequence, its JSON as text, or the path or URI of JSON Lines.
    :param defaults: The fields that messages leave out: an object, its JSON as text, or None.
    :param duplicates: What happens to a second message with the same identity: it is skipped (``skip``), sent under
        an identity of its own (``send``), or an error (``fail``).
    :param salt: A per-run salt, so that identities differ between runs.
    :param settings: The API version and the default sender.
    :param invalid: What happens to rows that are wrong: they keep back all others (``fail``, the default), or are
        refused alone (``reject``).
    :param needs_timezone: Whether each message has to have a time zone of its own (default False).
    """

    def __init__(
        self,
        messages: object,
        defaults: object,
        *,
        duplicates: Duplicates | str,
        salt: str,
        settings: Settings,
        invalid: Invalid | str = "fail",
        needs_timezone: bool = False,
    ) -> None:
        self._messages = messages
        self._given_defaults = defaults
        self._duplicates = duplicates
        self._salt = salt
        self._settings = settings
        self._invalid = invalid
        self._needs_timezone = needs_timezone
        self._source: MessageSource | None = None
        self._defaults = Defaults(None)
        self._repeated: set[bytes] = set()
        self._checked = False
        self.fingerprint = ""
        """Tells whether two inputs have the same messages in the same order, once they were checked."""

        self._rejected: Findings | None = None
        self.senders: dict[str, None] = {}
        """The ids of the first few admins from whom messages come, once they were checked."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._source is not None:
            self._source.close()

    @property
    def numbered_by(self) -> str:
        """The meaning of an item's number: ``index`` in a list, ``line`` in a file."""
        return "index" if self._source is None else self._source.numbered_by

    def check(self) -> int:
        """
        Read and check every message.

        :return: How many messages there are.
        :raises InvalidInputError: With ten causes, how often each of them came up and where first, and how many rows
            are wrong.
        """
        count = sum(1 for _ in self._check_rows())
        rejected, self._rejected = self._rejected, None
        if rejected is not None and rejected.bad_rows and self._invalid == "reject":
            log.warning("%d of %d messages are wrong and will be rejected:", rejected.bad_rows, count)
            for cause in rejected.describe():
                log.warning("  %s", cause)
        self._log_unused_params()
        return count

    def preview(self) -> Iterator[Item]:
        """
        Read and check every message as a batch that skips duplicates does, and yield each of them at once.

        Building each message only once takes half the time. So the input may turn out to be wrong as a whole at the
        end, and nothing must be sent meanwhile.

        :return: The messages.
        :raises InvalidInputError: As :meth:`check`, at the end.
        """
        first: dict[bytes, int] = {}
        for item in self._check_rows():
            if item is None:
                continue
            index = item.index if item.refusal is not None else first.setdefault(bytes.fromhex(item.digest), item.index)
            yield item if index == item.index else replace(item, duplicate_of=index)
        self._log_unused_params()

    def _check_rows(self) -> Iterator[Item | None]:
        self._defaults = Defaults(self._given_defaults)
        self._source = source = open_source(self._messages)
        findings = Findings(source)
        self._rejected = rejected = Findings(source)
        seen: set[bytes] = set()
        fingerprint = blake2b(digest_size=16)
        count = 0
        for index, row in enumerate(source):
            count += 1
            item = self._item(index, row, findings)
            if item is not None:
                fingerprint.update(item.digest.encode())
            if item is not None and item.message is not None and len(self.senders) < MAX_SENDERS_LOOKED_UP:
                sender = item.message.from_admin_id
                self.senders[str(self._settings.admin_id if sender is None else sender)] = None
            if item is not None and self._may_repeat_another(item):
                digest = bytes.fromhex(item.digest)
                (self._repeated if digest in seen else seen).add(digest)
            yield item
        del seen
        hint = ""
        if findings.bad_rows:
            findings.include(rejected)
            bad = findings.bad_rows
            if bad < count:
                hint = f"{bad:,} of {count:,} are wrong, and nothing was sent. {_WITH_REJECT}"
            elif count > 1:
                hint = f"all {count:,} are wrong, and nothing was sent. {_WITH_REJECT_NONE}"
        if self._duplicates == "fail" and self._repeated:
            self._add_repeated(source, findings)
        findings.raise_any(hint)
        self.fingerprint, self._checked = fingerprint.hexdigest(), True

    def _log_unused_params(self) -> None:
        if unused := self._defaults.unused_params:
            more = f", and {len(unused) - _MAX_NAMED:,} more" if len(unused) > _MAX_NAMED else ""
            log.warning(
                "No text asks for these params, with ${name}: %s%s. Misspelt names are not filled",
                ", ".join(unused[:_MAX_NAMED]),
                more,
            )

    def __iter__(self) -> Iterator[Item]:
        """
        Build the messages that were checked, one after the other, in their order.

        :return: The messages.
        :raises RuntimeError: When they have not been checked.
        """
        if not self._checked or self._source is None:
            raise RuntimeError("check() comes first")
        first: dict[bytes, tuple[int, int]] = {}
        for index, row in enumerate(self._source):
            findings = Findings(self._source)
            item = self._item(index, row, findings)
            findings.raise_any()
            if item is None or not self._is_repeated(item):
                if item is not None:
                    yield item
                continue
            digest = bytes.fromhex(item.digest)
            first_index, before = first.get(digest, (index, 0))
            first[digest] = (first_index, before + 1)
            if before and self._duplicates == "skip":
                item = replace(item, duplicate_of=first_index)
            elif before:
                item = replace(item, digest=f"{item.digest}#{before + 1}")
            yield item

    def _item(self, index: int, row: InputRow, findings: Findings) -> Item | None:
        """Build a message; None when the row has problems, which are added to the findings."""
        of_row = RowFindings()
        completed = apply_defaults(row, self._defaults, of_row)
        item = None if completed is None else self._build(index, row, completed, of_row)
        if of_row.own and self._invalid == "reject":
            fields = (row.fields or {}) if completed is None else completed.fields
            item = self._refused(index, row.number, fields, RefusedMessage(of_row.reason, of_row.fields))
            of_row.own = []
        if self._rejected is not None and item is not None and item.refusal is not None:
            self._rejected.add(row.number, RowFindings([Problem("", item.refusal)]))
        findings.add(row.number, of_row)
        return item

    def _build(self, index: int, row: InputRow, completed: CompletedMessage, findings: RowFindings) -> Item | None:
        message = build_message(completed, findings, settings=self._settings)
        timezone = read_message_timezone(completed, findings, is_needed=self._needs_timezone)
        if findings.own:
            return None
        if completed.missing:
            names = ", ".join(f"params.{name}" for name in completed.missing)
            refusal = f"{names} {'is' if len(completed.missing) == 1 else 'are'} missing"
            return self._refused(index, row.number, completed.fields, RefusedMessage(refusal, completed.unfilled))
        if isinstance(message, RefusedMessage):
            return self._refused(index, row.number, completed.fields, message)
        if message is None:
            return None
        return Item(index, row.number, self._identity(message), message, None, message.key, timezone=timezone)

    def _refused(self, index: int, number: int, fields: Mapping[str, Any], refused: RefusedMessage) -> Item:
        message, refusal = None, refused.reason
        # The recipient may be known all the same: the message is also parsed without the fields that are wrong.
        right = {name: value for name, value in fields.items() if name not in refused.fields}
        for readable in (fields, right):
            try:
                message = parse_message(readable)
            except (InvalidInputError, RecursionError):
                continue
            break
        if message is not None and (message.key is not None or "to" not in refused.fields):
            return Item(index, number, self._identity(message), None, refusal, message.key)
        key = fields.get("key")
        if is_missing(key):
            key = None
        elif not isinstance(key, int):
            key = key.strip() if isinstance(key, str) else write_id(key)
        digest = message_digest(key=key, message_type="position", recipients=index, salt=self._salt)
        return Item(index, number, digest, None, refusal, key)

    def _identity(self, message: Message) -> str:
        return message_digest(
            key=message.key, message_type=message.wire_type, recipients=message.recipients, salt=self._salt
        )

    def _may_repeat_another(self, item: Item) -> bool:
        # A refused message must not make a duplicate of the next one, which can be sent. With "send" it keeps its
        # place in the order, by which the identities of equal messages are told apart.
        return item.refusal is None or self._duplicates != "skip"

    def _is_repeated(self, item: Item) -> bool:
        return bool(self._repeated) and self._may_repeat_another(item) and bytes.fromhex(item.digest) in self._repeated

    def _add_repeated(self, source: MessageSource, findings: Findings) -> None:
        first: dict[str, int] = {}
        for index, row in enumerate(source):
            item = self._item(index, row, Findings(source))
            if item is None or not self._is_repeated(item):
                continue
            if item.digest in first:
                same = RowFindings()
                same.add(
                    "",
                    f"is the same as {source.position(first[item.digest])}, by its key or else by its type and "
                    'recipient: remove one, give each a key of its own, or set duplicates to "skip" or "send"',
                )
                findings.add(row.number, same)
            first.setdefault(item.digest, row.number)


def check_literals(messages: object, defaults: object, *, invalid: str = "fail") -> None:
    """
    Check messages and defaults while a DAG is parsed; no storage and no connection is read.

    :param messages: As the operator gets them: of a list, the first hundred messages are checked.
    :param defaults: As the operator gets them; templates in them are not checked.
    :param invalid: As the operator gets it (default ``fail``); with ``reject`` a message alone is no error.
    :raises InvalidInputError: When something is wrong.
    """
    known, lazy = _known_defaults(defaults)
    source = _known_messages(messages)
    rows = list(islice(source, _MAX_LITERALS))
    if not rows:
        # The defaults alone are checked as an empty message, of which the fields that they do not have are unknown.
        source, rows = ListSource([{}]), [InputRow(0, {})]
        lazy |= {*MESSAGE_FIELDS} - known.apply_defaults({}).shared
    findings = Findings(source)
    for row in rows:
        of_row = RowFindings()
        own = row.fields or {}
        unknown = {name for name, value in own.items() if not _is_plain(value)}
        blank: dict[str, Any] = {name: {} if name == "params" else None for name in unknown}
        completed = apply_defaults(row._replace(fields=row.fields and {**own, **blank}), known, of_row)
        unsure = unknown | (lazy - {name for name, value in own.items() if not is_missing(value)})
        if completed is not None and "message_type" not in unsure:
            build_message(completed, of_row, unsure=unsure)
        if completed is not None and "timezone" not in unsure:
            read_message_timezone(completed, of_row, is_needed=False)
        if invalid == "reject":
            of_row.own = []
        findings.add(row.number, of_row)
    findings.raise_any()


def _known_messages(value: object) -> ListSource:
    """Return the messages that are known when a DAG is parsed."""
    is_template = isinstance(value, str) and not is_untemplated(value)
    # Anything else, such as another task's output, is not known before the task runs.
    if is_template or not isinstance(value, str | bytes | int | float | list | tuple | Mapping | Iterator | None):
        return ListSource([])
    with closing(open_source(value)) as source:
        return source if isinstance(source, ListSource) else ListSource([])


def _known_defaults(value: object) -> tuple[Defaults, set[str]]:
    """Return the defaults that are known when a DAG is parsed, and the fields that are not known yet."""
    is_template = isinstance(value, str) and not is_untemplated(value)
    if is_template or not isinstance(value, str | bytes | int | float | list | tuple | Mapping | None):
        return Defaults({"params": {}}), {*MESSAGE_FIELDS, *BATCH_FIELDS}
    data = parse_json_text("defaults", value)
    if not isinstance(data, Mapping):
        return Defaults(data), set()
    lazy = {name for name, entry in data.items() if not is_untemplated(entry)}
    return Defaults({**data, **{name: {} if name == "params" else None for name in lazy}}), lazy


def _is_plain(value: object) -> bool:
    """Check whether a value in a list is final; the contents of a list are not templates."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, str | int | float | Decimal | date)
