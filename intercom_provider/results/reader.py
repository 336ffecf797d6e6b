"""Read the results that a batch wrote to object storage, message by message."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from airflow.sdk import ObjectStoragePath

Key: TypeAlias = str | int | None
"""The user's own id of a message."""

_PART: Final = re.compile(r"try-([0-9]+)-part-([0-9]+)\.jsonl")
_BEGIN: Final = re.compile(r"try-([0-9]+)\.begin\.json")
_END: Final = re.compile(r"try-([0-9]+)\.end\.json")


@dataclass(frozen=True, slots=True)
class MessageResult:
    """The result of one message of a batch: a line of a part."""

    index: int | None
    outcome: str
    whatsapp_message_id: str | None = None
    key: Key = None
    reason: str | None = None
    id: str | None = None
    conversation_id: str | None = None


class Owner(NamedTuple):
    """
    The task instance whose results a try is.

    :param dag_id: Its DAG.
    :param run_id: Its run.
    :param task_id: Its task.
    :param map_index: Its index among the instances of a mapped task; -1 for another task.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    def __str__(self) -> str:
        instance = "" if self.map_index < 0 else f"[{self.map_index}]"
        return f"task {self.task_id}{instance} of DAG {self.dag_id}, run {self.run_id}"


class _Part(NamedTuple):
    try_number: int
    number: int
    name: str


class _Listing(NamedTuple):
    """The files in a folder: the parts in their order, the tries that began, and the marks of those that ended."""

    parts: list[_Part]
    begins: dict[int, str]
    ends: dict[int, str]

    @property
    def tries(self) -> set[int]:
        return {*self.begins, *self.ends, *(part.try_number for part in self.parts)}


@dataclass(frozen=True, slots=True)
class TryResults:
    """
    The results of one try of a batch, whose parts are never changed again.

    :param folder: The folder of the batch's task instance, as the batch left it in XCom.
    :param try_number: The try.
    :param total: How many lines there must be, which is the number of the batch's messages; None when it is unknown.
    """

    folder: str
    try_number: int
    total: int | None

    @classmethod
    def of_tries(cls, folder: str) -> list[Self]:
        """
        Find every try in a folder, when the number of messages is unknown.

        :param folder: The folder.
        :return: The results of each, the first try first.
        :raises OSError: When the folder cannot be read.
        """
        return [cls(folder, number, None) for number in sorted(_list(folder).tries)]

    @classmethod
    def of_try(cls, folder: str, try_number: int, total: int | None) -> Self:
        """
        Find a certain try.

        :param folder: The folder, as the batch's XCom ``results_path`` names it.
        :param try_number: The try, as the batch's XCom ``results_try`` names it.
        :param total: How many messages the batch has; None when it is unknown.
        :return: Its results.
        :raises ValueError: When the try has left none.
        :raises OSError: When the folder cannot be read.
        """
        if total and try_number not in _list(folder).tries:
            raise ValueError(f"try {try_number} of the batch has left no results")
        return cls(folder, try_number, total)

    @classmethod
    def of_last_try(cls, folder: str, total: int) -> Self:
        """
        Find the last try, which has a line for every message, also for those that an earlier try sent.

        :param folder: The folder.
        :param total: How many messages the batch has.
        :return: Its results.
        :raises ValueError: When there are none.
        :raises OSError: When the folder cannot be read.
        """
        last = last_try(folder)
        if total and not last:
            raise ValueError("no part of a batch is there")
        return cls(folder, last, total)

    def written_lines(self) -> int | None:
        """
        Return how many lines the try has written.

        A try that was killed has not come to its end. A try that was stopped has, but may not have a line for each
        message.

        :return: The number; None when the try did not come to its end, or a part is missing.
        :raises ValueError: When the mark of its end is not a batch's.
        :raises OSError: When the folder cannot be read.
        """
        from airflow.sdk import ObjectStoragePath

        listing = _list(self.folder)
        if self.try_number not in listing.ends:
            return None
        name = listing.ends[self.try_number]
        try:
            end = json.loads((ObjectStoragePath(self.folder) / name).read_text(encoding="utf-8"))
            parts, lines = int(end["parts"]), int(end["lines"])
        except (ValueError, TypeError, KeyError, OverflowError):
            raise ValueError(f"{name} is not a batch's") from None
        numbers = [part.number for part in listing.parts if part.try_number == self.try_number]
        return lines if numbers == list(range(1, parts + 1)) else None

    def is_complete(self) -> bool:
        """
        Check whether the try came to its end, and all of its parts are there.

        :return: True when it did.
        :raises ValueError: When the mark of its end is not a batch's.
        :raises OSError: When the folder cannot be read.
        """
        return self.written_lines() is not None

    def owner(self) -> Owner | None:
        """
        Read whose results these are.

        :return: The task instance; None when the try does not name it.
        :raises OSError: When the folder cannot be read.
        """
        from airflow.sdk import ObjectStoragePath

        name = _list(self.folder).begins.get(self.try_number)
        if name is None:
            return None
        try:
            data = json.loads((ObjectStoragePath(self.folder) / name).read_text(encoding="utf-8"))
            return Owner(str(data["dag_id"]), str(data["run_id"]), str(data["task_id"]), int(data["map_index"]))
        except (ValueError, TypeError, KeyError):
            # A worker that was killed while it wrote the file leaves half of it.
            return None

    def lines(self) -> Iterator[MessageResult]:
        """
        Read every line, in the same order each time.

        :return: The lines.
        :raises ValueError: When a line is not a batch's, or lines are missing.
        :raises OSError: When a part cannot be read.
        """
        from airflow.sdk import ObjectStoragePath

        number = 0
        for part in _list(self.folder).parts if self.total != 0 else ():
            if part.try_number != self.try_number:
                continue
            path = ObjectStoragePath(self.folder) / part.name
            with open_lines(path) as file:
                for line_number, text in enumerate(file, 1):
                    try:
                        yield _parse_line(text)
                    except (ValueError, TypeError, KeyError, RecursionError):
                        raise ValueError(f"line {line_number} of {part.name} is not a batch's") from None
                    number += 1
        if self.total is not None and number != self.total:
            raise ValueError(
                f"the parts of try {self.try_number} have {number:,} messages, the batch has {self.total:,}"
            )


def open_lines(path: ObjectStoragePath) -> TextIO:
    """
    Open a file of JSON Lines, in which a broken character breaks only its own line.

    :param path: The file.
    :return: The open file.
    :raises OSError: When it cannot be read.
    """
    # Half a character becomes an escape that JSON does not have, so that parsing fails at that line and not before.
    file: TextIO = path.open("r", encoding="utf-8", errors="backslashreplace")  # type: ignore[no-untyped-call]  # Airflow has no annotation
    return file


def last_try(folder: str) -> int:
    """
    Find the last try that has left results in a folder.

    :param folder: The folder.
    :return: Its number; 0 where there is none.
    :raises OSError: When the folder cannot be read.
    """
    return max(_list(folder).tries, default=0)


def _list(folder: str) -> _Listing:
    from airflow.sdk import ObjectStoragePath

    found = [path.name for path in ObjectStoragePath(folder).iterdir()]
    parts = [_Part(int(match[1]), int(match[2]), name) for name in found if (match := _PART.fullmatch(name))]
    begins, ends = (
        {int(match[1]): name for name in found if (match := mark.fullmatch(name))} for mark in (_BEGIN, _END)
    )
    return _Listing(sorted(parts), begins, ends)


def _parse_line(text: str) -> MessageResult:
    data = json.loads(text)
    return MessageResult(
        data.get("index"),
        str(data["outcome"]),
        data.get("whatsapp_message_id"),
        data.get("key"),
        data.get("reason"),
        data.get("id"),
        data.get("conversation_id"),
    )
