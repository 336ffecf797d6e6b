"""Read the rows of a batch's input, from a list or from JSON Lines on object storage, without checking their fields."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from tempfile import SpooledTemporaryFile
from typing import Any, Final, NamedTuple, Protocol

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.json_text import RepeatedKeyError, load_json, parse_json_text
from intercom_provider.api.values import is_missing
from intercom_provider.sending.batch.file_format import AS_JSON_LINES, describe_row, describe_text, recognize_format
from intercom_provider.sending.batch.lines import MAX_LINE_BYTES, is_storage_path, read_lines, without_credentials

_NOT_A_LIST: Final = "must be a list of messages, or the path or URI of JSON Lines"
_NOT_JSON_LINES: Final = "is not a JSON object: JSON Lines have one message a line"
# Begins a kept line that holds a problem; no JSON object begins with it.
_NOT_A_ROW: Final = b"!"
# Beyond this, lines are kept on disk, so that a file of any size needs no more memory.
_MAX_BYTES_IN_MEMORY: Final = 1_000_000


class InputRow(NamedTuple):
    """
    One row of the input, as it came.

    :param number: Its index in a list, its line number in a file.
    :param fields: The message's fields; None when the row is not an object.
    :param problem: Why it is not an object; else "".
    """

    number: int
    fields: Mapping[str, Any] | None
    problem: str = ""


class MessageSource(Protocol):
    """Rows of messages that can be read several times and are the same each time."""

    numbered_by: str
    """The meaning of a row's number: ``index`` or ``line``."""

    def __iter__(self) -> Iterator[InputRow]:
        """Read the rows in their order."""

    def position(self, number: int, field: str = "") -> str:
        """Return the position of a row, or of a field in it, in the words that errors use."""

    def close(self) -> None:
        """Release the file that holds what was read."""


class ListSource:
    """
    Messages in a list.

    :param entries: The messages.
    """

    numbered_by = "index"

    def __init__(self, entries: list[Any]) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[InputRow]:
        for number, entry in enumerate(self._entries):
            is_object = isinstance(entry, Mapping)
            yield InputRow(number, entry if is_object else None, "" if is_object else describe_row(entry))

    def position(self, number: int, field: str = "") -> str:
        """Return a position such as ``messages[17].to.phone``."""
        return f"messages[{number}].{field}" if field else f"messages[{number}]"

    def close(self) -> None:
        """Do nothing: a list holds no file."""


class FileSource:
    """
    Messages in a file of JSON Lines, which is read from its storage once.

    The lines are kept, so that what was checked is what is sent, also when the file changes meanwhile.

    :param path: A path or a URI that Airflow's ``ObjectStoragePath`` takes; ``.gz`` and the like are unpacked.
    """

    numbered_by = "line"

    def __init__(self, path: Any) -> None:
        self._path = path
        self._was_read = False
        self._kept = SpooledTemporaryFile(max_size=_MAX_BYTES_IN_MEMORY)  # noqa: SIM115 - lives as long as the batch

    def __iter__(self) -> Iterator[InputRow]:
        if not self._was_read:
            self._was_read = True
            yield from self._read_and_keep()
            return
        self._kept.seek(0)
        for line in self._kept:
            number, _, text = line.partition(b" ")
            if text.startswith(_NOT_A_ROW):
                yield InputRow(int(number), None, text.removeprefix(_NOT_A_ROW).decode().strip())
            else:
                yield InputRow(int(number), json.loads(text))

    def position(self, number: int, field: str = "") -> str:
        """Return a position such as ``messages, line 18: to.phone``."""
        return f"messages, line {number}: {field}" if field else f"messages, line {number}"

    def close(self) -> None:
        """Release the lines that were read."""
        self._kept.close()

    def _read_and_keep(self) -> Iterator[InputRow]:
        lines = read_lines("messages", self._path)
        head = list(islice(lines, 2))
        for index, (number, text) in enumerate(chain(head, lines)):
            if text is None:
                # What follows was not read, so the batch must not go on without it.
                problem = f"is longer than {MAX_LINE_BYTES:,} bytes; {_NOT_JSON_LINES}"
                raise InvalidInputError.of(self.position(number), problem)
            row = _parse_line(number, text)
            if row.problem and index == 0 and (other := recognize_format(*(line or b"" for _, line in head))):
                raise InvalidInputError.of("messages", f"{other}. {AS_JSON_LINES}")
            self._kept.write(b"%d %s\n" % (number, _NOT_A_ROW + row.problem.encode() if row.problem else text))
            yield row


def _parse_line(number: int, text: bytes) -> InputRow:
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return InputRow(number, None, "is not UTF-8")
    try:
        data = load_json(decoded)
    except RepeatedKeyError as error:
        return InputRow(number, None, str(error))
    except (ValueError, RecursionError):
        return InputRow(number, None, _NOT_JSON_LINES)
    return InputRow(number, data) if isinstance(data, dict) else InputRow(number, None, _NOT_JSON_LINES)


def open_source(messages: object) -> MessageSource:
    """
    Return the source of a batch's messages; nothing is read yet.

    :param messages: A list or another sequence, its JSON as text, or the path or URI of JSON Lines.
    :return: The source, to be closed.
    :raises InvalidInputError: When it is something else.
    """
    if is_missing(messages):
        raise InvalidInputError.of("messages", f"is missing: it {_NOT_A_LIST}")
    if isinstance(messages, str) and messages.lstrip()[:1] not in ("[", "{"):
        if other := describe_text(messages):
            raise InvalidInputError.of("messages", f"{other}. {AS_JSON_LINES}")
        return FileSource(without_credentials("messages", messages.strip()))
    if isinstance(messages, os.PathLike) or is_storage_path(messages):
        return FileSource(messages)
    data = parse_json_text("messages", messages)
    if isinstance(data, list):
        return ListSource(data)
    raise InvalidInputError.of("messages", _describe_other(data))


def _describe_other(data: object) -> str:
    """Describe what the messages are that are neither a list nor a path."""
    if isinstance(data, str):
        return describe_text(data) or "is text, but not a JSON list; in a template, end with | tojson"
    if isinstance(data, Mapping):
        return f"is a single object: it {_NOT_A_LIST}"
    if isinstance(data, Iterator):
        return f"is an iterator, which can be read only once: it {_NOT_A_LIST}. Give list(...)"
    if any(hasattr(data, name) for name in ("to_dict", "to_dicts", "to_pylist", "tolist")):
        return "is a table: make objects of its rows (docs: From tables to messages)"
    return _NOT_A_LIST
