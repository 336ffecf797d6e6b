"""Where the messages of a batch come from: a list, or JSON Lines on object storage. Read, not yet judged."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.values import is_missing, parse_json_text

if TYPE_CHECKING:
    from collections.abc import Callable

NO_OBJECT: Final = "must be an object of a message's fields"

_NO_LIST: Final = "must be a list of messages, or the path or URI of JSON Lines"
_NO_LINES: Final = "is no JSON object: JSON Lines have one message a line"
_CHUNK: Final = 1 << 18
_LONGEST_LINE: Final = 1 << 22
# Beyond this, lines wait on disk, so that a file of any size needs no more memory.
_IN_MEMORY: Final = 1_000_000
# What another try would meet again. A network that fails may well work the next time.
_UNREADABLE: Final = (
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    ImportError,
    ValueError,
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
)


class Record(NamedTuple):
    """
    One message as it came.

    :param number: Where it stands: its index in a list, its line in a file.
    :param fields: Its fields; None when it is none.
    :param problem: Why it is none; else "".
    """

    number: int
    fields: Mapping[str, Any] | None
    problem: str = ""


class Source(Protocol):
    """Messages that can be read again, and say the same then."""

    def __iter__(self) -> Iterator[Record]:
        """Read them, in their order."""

    def where(self, number: int, field: str = "") -> str:
        """Name the place of a message, or of a field of it, as a user would look for it."""

    def close(self) -> None:
        """Let go of what is held."""


class Listed:
    """
    A list of messages.

    :param entries: The messages.
    """

    def __init__(self, entries: list[Any]) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[Record]:
        for number, entry in enumerate(self._entries):
            is_object = isinstance(entry, Mapping)
            yield Record(number, entry if is_object else None, "" if is_object else NO_OBJECT)

    def where(self, number: int, field: str = "") -> str:
        """Name a place: ``messages[17].to.phone``."""
        return f"messages[{number}].{field}" if field else f"messages[{number}]"

    def close(self) -> None:
        """Hold nothing."""


class Lines:
    """
    A file of JSON Lines, which is read once: whatever becomes of it then, what was read is what counts.

    :param path: A path or a URI that Airflow's ``ObjectStoragePath`` takes; ``.gz`` and the like are unpacked.
    """

    def __init__(self, path: Any) -> None:
        self._path = path
        self._read = False
        self._kept = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - lives as long as the batch

    def __iter__(self) -> Iterator[Record]:
        if not self._read:
            self._read = True
            yield from self._first()
            return
        self._kept.seek(0)
        for line in self._kept:
            number, _, text = line.partition(b" ")
            yield Record(int(number), json.loads(text))

    def where(self, number: int, field: str = "") -> str:
        """Name a place: ``messages, line 18: to.phone``."""
        return f"messages, line {number}: {field}" if field else f"messages, line {number}"

    def close(self) -> None:
        """Let go of what was read."""
        self._kept.close()

    def _first(self) -> Iterator[Record]:
        for number, line in enumerate(_whole_lines(self._chunks()), start=1):
            if line is None:
                yield Record(number, None, f"is longer than {_LONGEST_LINE:,} bytes; {_NO_LINES}")
                return
            text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
            if not text:
                continue
            record = _parse(number, text)
            if not record.problem:
                self._kept.write(b"%d %s\n" % (number, text))
            yield record

    def _chunks(self) -> Iterator[bytes]:
        try:
            from airflow.sdk import ObjectStoragePath  # noqa: PLC0415 - loads a storage library, only where it is used

            path = self._path if _is_storage_path(self._path) else ObjectStoragePath(self._path)
            file = path.open("rb", compression="infer")
        except _UNREADABLE as error:
            raise _unreadable(error) from None
        with file:
            yield from _until_the_end(file.read)


def _until_the_end(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while True:
        try:
            chunk = read(_CHUNK)
        except _UNREADABLE as error:
            raise _unreadable(error) from None
        if not chunk:
            return
        yield chunk


def _unreadable(error: Exception) -> InvalidInputError:
    # A library's own words may repeat the URI, and credentials in it.
    return InvalidInputError.of("messages", f"cannot be read ({type(error).__name__}): check the path or URI")


def _whole_lines(chunks: Iterator[bytes]) -> Iterator[bytes | None]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > _LONGEST_LINE:
            yield None
            return
    if rest:
        yield rest


def _parse(number: int, text: bytes) -> Record:
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return Record(number, None, "is no UTF-8")
    try:
        data = json.loads(decoded)
    except (ValueError, RecursionError):
        return Record(number, None, _NO_LINES)
    return Record(number, data) if isinstance(data, dict) else Record(number, None, _NO_LINES)


def open_source(messages: object) -> Source:
    """
    Find out where messages come from; nothing is read.

    :param messages: A list or another sequence, its JSON as text, or the path or URI of JSON Lines.
    :return: The source, to be closed.
    :raises InvalidInputError: When it is none of these.
    """
    if is_missing(messages):
        raise InvalidInputError.of("messages", f"is missing: it {_NO_LIST}")
    if isinstance(messages, str) and messages.lstrip()[:1] not in ("[", "{"):
        return Lines(_without_credentials(messages.strip()))
    if isinstance(messages, os.PathLike) or _is_storage_path(messages):
        return Lines(messages)
    data = parse_json_text(messages)
    if isinstance(data, list):
        return Listed(data)
    if isinstance(data, str):
        raise InvalidInputError.of("messages", "is text that is no JSON list; in a template, end with | tojson")
    if isinstance(data, Mapping):
        raise InvalidInputError.of("messages", f"is a single object: it {_NO_LIST}")
    if isinstance(data, Iterator):
        raise InvalidInputError.of(
            "messages", f"is an iterator, which can be read only once: it {_NO_LIST}. Give list(...)"
        )
    raise InvalidInputError.of("messages", _NO_LIST)


def _without_credentials(path: str) -> str:
    # What stands before the @ is taken for the id of a connection, which logs and errors name.
    if ":" in path.partition("://")[2].partition("/")[0].rpartition("@")[0]:
        raise InvalidInputError.of(
            "messages", "holds credentials: put them into an Airflow connection, and its id before the @"
        )
    return path


def _is_storage_path(value: object) -> bool:
    # Airflow's own path is no os.PathLike, and importing its class takes longer than all the rest.
    return hasattr(value, "protocol") and hasattr(value, "conn_id")
