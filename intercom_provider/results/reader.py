"""The parts in which a batch wrote to object storage what became of its messages, read again."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Key: TypeAlias = str | int | None
"""The user's own id of a message."""

_PART: Final = re.compile(r"try-([0-9]+)-part-([0-9]+)\.jsonl")


@dataclass(frozen=True, slots=True)
class MessageResult:
    """What became of one message of a batch."""

    index: int | None
    outcome: str
    whatsapp_message_id: str | None = None
    key: Key = None
    reason: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class TryResults:
    """
    What one try of a batch wrote; its parts are never changed again.

    :param folder: The folder of the batch's task instance, as the batch left it in XCom.
    :param try_number: The try.
    :param total: How many messages the batch came to, and so how many lines there are; None when nobody knows.
    """

    folder: str
    try_number: int
    total: int | None

    @classmethod
    def of_tries(cls, folder: str) -> list[Self]:
        """
        Find every try, when nobody knows how many messages the batch came to.

        :param folder: The folder.
        :return: The parts of each, the first try first.
        :raises OSError: When the folder can not be read.
        """
        return [cls(folder, each, None) for each in sorted({try_number for try_number, _, _ in _listed(folder)})]

    @classmethod
    def of_last_try(cls, folder: str, total: int) -> Self:
        """
        Find the last try, which tells of every message, also of those that an earlier one had sent.

        :param folder: The folder.
        :param total: How many messages the batch came to.
        :return: Its parts.
        :raises ValueError: When there are none.
        :raises OSError: When the folder can not be read.
        """
        last = last_try(folder)
        if total and not last:
            raise ValueError("no part of a batch is there")
        return cls(folder, last, total)

    def lines(self) -> Iterator[MessageResult]:
        """
        Read every line, in the same order each time.

        :return: The lines.
        :raises ValueError: When it is not what a batch wrote, or not all of it.
        :raises OSError: When a part can not be read.
        """
        from airflow.sdk import ObjectStoragePath  # noqa: PLC0415 - loads a storage library, only where parts are read

        number = 0
        for try_number, _, name in _listed(self.folder) if self.total != 0 else ():
            if try_number != self.try_number:
                continue
            part = ObjectStoragePath(self.folder) / name
            with part.open("r", encoding="utf-8") as file:  # type: ignore[no-untyped-call]  # Airflow has no annotation
                for place, text in enumerate(file, 1):
                    try:
                        yield _line(text)
                    except (ValueError, TypeError, KeyError):
                        raise ValueError(f"line {place} of {name} is not a batch's") from None
                    number += 1
        if self.total is not None and number != self.total:
            raise ValueError(
                f"the parts of try {self.try_number} tell of {number:,} messages, the batch of {self.total:,}"
            )


def last_try(folder: str) -> int:
    """
    Look which try has left parts in a folder.

    :param folder: The folder.
    :return: The number of the last one; 0 where there is none.
    :raises OSError: When the folder can not be read.
    """
    return max((try_number for try_number, _, _ in _listed(folder)), default=0)


def _listed(folder: str) -> list[tuple[int, int, str]]:
    from airflow.sdk import ObjectStoragePath  # noqa: PLC0415 - loads a storage library, only where parts are read

    found = ((_PART.fullmatch(path.name), path.name) for path in ObjectStoragePath(folder).iterdir())
    return sorted((int(match[1]), int(match[2]), name) for match, name in found if match)


def _line(text: str) -> MessageResult:
    data = json.loads(text)
    return MessageResult(
        data.get("index"),
        str(data["outcome"]),
        data.get("whatsapp_message_id"),
        data.get("key"),
        data.get("reason"),
        data.get("id"),
    )
