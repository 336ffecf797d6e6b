"""
Reading Intercom's JSON tolerantly: a detail that cannot be read is missing, and what it belongs to is still read.

In the unions below pydantic's core takes what is well formed, and calls Python only for the rest: a list of statuses
has 100,000 events. A reply that does not validate is read once more by :mod:`json`, which takes half characters, and a
list then entry by entry.
"""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import islice
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, Strict, ValidationError

from intercom_provider.api.values import as_datetime

MAX_ID_CHARS: Final = 1_000
MAX_WORDS_CHARS: Final = 1_000

_MAX_SECONDS: Final = 2**53
_MAX_STATUS_CHARS: Final = 50
_MAX_PARTS: Final = 10


def _nothing(_: object) -> None:
    return None


def _empty(value: object) -> None:
    if value:
        raise ValueError("not empty")


def _count(value: object) -> int | None:
    number = _seconds(value)
    return None if number is None or number < 0 else number


def _seconds(value: object) -> int | None:
    try:
        number = int(float(str(value)[:_MAX_STATUS_CHARS]))
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= _MAX_SECONDS else None


def _moment(value: object) -> int | None:
    try:
        return int(as_datetime(value[:_MAX_STATUS_CHARS] if isinstance(value, str) else value).timestamp())
    except ValueError:
        return None


def _status(value: object) -> str:
    return value[: 2 * _MAX_STATUS_CHARS].strip().lower()[:_MAX_STATUS_CHARS] if isinstance(value, str) else ""


def join_words(value: object) -> str | None:
    """
    Join the texts and numbers in a value of any form.

    :param value: A part of a reply.
    :return: At most 1,000 characters; None when there are none.
    """
    if isinstance(value, dict | list):
        parts = islice(value.values() if isinstance(value, dict) else value, _MAX_PARTS)
        return "; ".join(filter(None, map(join_words, parts)))[:MAX_WORDS_CHARS] or None
    return None if value is None or isinstance(value, bool) else str(value)[:MAX_WORDS_CHARS]


Missing = Annotated[None, BeforeValidator(_nothing)]
"""Whatever cannot be read."""

Empty = Annotated[None, BeforeValidator(_empty)]
"""Nothing, in whatever form."""

Detail = Annotated[Annotated[str | None, Field(max_length=MAX_ID_CHARS)] | Missing, Field(union_mode="left_to_right")]
"""A text of the size of an id or a name."""

Words = Annotated[str | Annotated[str | None, BeforeValidator(join_words)], Field(union_mode="left_to_right")]
"""Texts, in whatever form they stand."""

Seconds = Annotated[
    Annotated[int, Strict(), Field(ge=-_MAX_SECONDS, le=_MAX_SECONDS)]
    | Annotated[int | None, BeforeValidator(_seconds)],
    Field(union_mode="left_to_right"),
]
"""Epoch seconds."""

Count = Annotated[
    Annotated[int, Strict(), Field(ge=0, le=_MAX_SECONDS)] | Annotated[int | None, BeforeValidator(_count)],
    Field(union_mode="left_to_right"),
]
"""A number of things."""

Moment = Annotated[int | None, BeforeValidator(_moment)]
"""Epoch seconds that say that something has happened at all, so they are read in whatever form they stand."""

StatusWord = Annotated[
    Literal["sent", "delivered", "read", "failed"] | Annotated[str, BeforeValidator(_status)],
    Field(union_mode="left_to_right"),
]
"""A status in lower case; "" for one that is not a text."""


MessageId = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]
"""An id by which messages are counted."""


class Tolerant(BaseModel):
    """A part of a reply."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True)

    @classmethod
    def read(cls, body: bytes) -> Self:
        """
        Read a reply's body.

        :param body: JSON.
        :return: The model.
        :raises ValueError: When what the model needs is missing.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError:
            return cls.read_parsed(parse_json(body))

    @classmethod
    def read_parsed(cls, value: Any) -> Self:
        """
        Read what did not validate as it was.

        :param value: The parsed JSON.
        :return: The model.
        :raises ValueError: When what the model needs is missing.
        """
        return cls.model_validate_json(as_utf8(value))


T = TypeVar("T", bound=Tolerant)


class TolerantList(Tolerant):
    """
    A reply that is a list, of which entries that cannot be read are left out.

    :cvar entries: The field that holds the entries.
    :cvar kind: What an entry is.
    """

    entries: ClassVar[str]
    kind: ClassVar[type[Tolerant]]
    _unreadable: int = PrivateAttr(default=0)

    @property
    def unreadable(self) -> int:
        """How many entries cannot be read."""
        return self._unreadable

    @classmethod
    def read_parsed(cls, value: Any) -> Self:
        """
        Read the entries one by one.

        :param value: The parsed JSON.
        :return: The list.
        :raises ValueError: When it is not a list, or when none of its entries can be read.
        """
        found, unreadable = read_entries(cls.kind, value, cls.entries)
        read = super().read_parsed({**value, cls.entries: []})
        getattr(read, cls.entries).extend(found)
        read._unreadable = unreadable  # noqa: SLF001 - its own
        return read


def read_entries(kind: type[T], value: Any, name: str) -> tuple[list[T], int]:
    """
    Read the entries of a list one by one.

    :param kind: What an entry is.
    :param value: The parsed JSON of a reply.
    :param name: The field that holds the entries.
    :return: The entries that can be read, and how many cannot.
    :raises ValueError: When it is not a list, or when none of its entries can be read.
    """
    listed = value.get(name) if isinstance(value, dict) else None
    if not isinstance(listed, list):
        raise ValueError("not a list")  # noqa: TRY004 - an unreadable reply, whatever stands there
    found = []
    for each in listed:
        if isinstance(each, dict):
            with suppress(ValueError):
                found.append(kind.read_parsed(each))
    if listed and not found:
        raise ValueError("no entry can be read")
    return found, len(listed) - len(found)


def as_utf8(value: object) -> bytes:
    """
    Write JSON, in which half characters are replaced.

    :param value: What the JSON holds.
    :return: The JSON.
    """
    return json.dumps(value, ensure_ascii=False).encode(errors="replace")


def parse_json(body: bytes) -> object:
    """
    Parse JSON that pydantic's parser refuses, because it holds half characters, say.

    :param body: The JSON.
    :return: What it holds.
    :raises ValueError: When it is not JSON.
    """
    try:
        return json.loads(body.decode(errors="replace"), parse_int=_int)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _int(digits: str) -> int | float:
    # Python refuses whole numbers of more than 4,300 digits.
    return int(digits) if len(digits) <= MAX_ID_CHARS else float(digits)
