"""
Read the keys and recipients that a batch must not message, and compare its messages with them.

A list of a million people must not need more memory than the check for duplicates does, so a digest of each entry is
kept, not its text. An entry that is read wrongly, such as a row of a CSV, would match nobody, and somebody who has
opted out would be messaged. So what cannot be one key or one recipient is refused, with its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from intercom_provider.api.cells import write_id
from intercom_provider.api.characters import find_unwritable, strip_invisible
from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.json_text import RepeatedKeyError, load_json, parse_json_text
from intercom_provider.api.recipient import StrictModel, read_phone
from intercom_provider.api.values import Email, Identifier, is_missing
from intercom_provider.sending.batch.lines import is_storage_path, read_lines, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.api.message import Message

_NOT_A_LIST: Final = "must be a list of keys and recipients, or the path or URI of a file with one a line"
_NOT_AN_ENTRY: Final = "must be a key or a recipient: text, a whole number, or an object as in a message's to"
_WRITE_AS_KEY: Final = 'if it is a key, write it as {"key": "..."}'
_MAX_PROBLEMS: Final = 10
_MAX_LITERALS: Final = 100
_DIGEST_BYTES: Final = 12
_ROLES: Final = ("user", "lead")
_ADDRESSES: Final = ("id", "user_id", "email", "phone")
_DECIMAL_TEXT: Final = re.compile(r"[0-9]+\.0+")
# A text alone may be the key or any address of whoever is meant.
_ANY: Final = ""


class _Entry(StrictModel):
    """An object in the list: a key, or a recipient by one address or several."""

    key: Identifier | None = None
    id: Identifier | None = None
    user_id: Identifier | None = None
    email: Email | None = None


class SuppressList:
    """
    Keys and recipients that must not be messaged.

    :param value: A list, its JSON as text, or the path or URI of a file with one entry a line, as text or JSON.
    :raises InvalidInputError: When it is something else, or holds what is no entry; with the first ten places.
    """

    def __init__(self, value: object) -> None:
        self._digests: set[bytes] = set()
        problems: list[Problem] = []
        count = 0
        for place, entry in _read_entries(value):
            try:
                self._digests.update(_digest(field, text) for field, text in _read_names(entry))
            except InvalidInputError as error:
                count += len(error.problems)
                room = _MAX_PROBLEMS - len(problems)
                problems += [Problem(place, problem.text) for problem in error.problems[:room]]
        if count > len(problems):
            problems.append(Problem("suppress", f"and {count - len(problems):,} more"))
        if problems:
            raise InvalidInputError(problems)

    def reason(self, message: Message) -> str | None:
        """
        Return why a message must not be sent.

        :param message: The message.
        :return: The reason; None when neither its key nor any of its recipients is in the list.
        """
        if message.key is not None and self._holds("key", str(message.key)):
            return "suppress holds its key"
        if any(self._holds(*address) for address in addresses_of(message)):
            return "suppress holds its recipient"
        return None

    def _holds(self, field: str, text: str) -> bool:
        return _digest(_ANY, text) in self._digests or _digest(field, text) in self._digests


def addresses_of(message: Message) -> Iterator[tuple[str, str]]:
    """
    List everybody whom a message would reach.

    :param message: The message.
    :return: The field and the value by which each recipient is addressed, those in copy included.
    """
    for name in ("to", "cc", "bcc"):
        # Not getattr: for a field that a type lacks, a model raises and catches an error each time.
        for person in vars(message).get(name) or ():
            fields = vars(person)
            for field in _ADDRESSES:
                if (value := fields.get(field)) is not None:
                    yield field, str(value)


def check_suppress(value: object) -> None:
    """
    Check the list while a DAG is parsed; no file is read.

    :param value: The field ``suppress``, without templates: of a list, the first hundred entries are checked.
    :raises InvalidInputError: When something is wrong.
    """
    if isinstance(value, list | tuple):
        SuppressList(value[:_MAX_LITERALS])
    elif is_missing(value) or isinstance(value, bool | int | float | Mapping):
        raise InvalidInputError.of("suppress", _NOT_A_LIST)


def _digest(field: str, text: str) -> bytes:
    # An address is compared without its case, also where it serves as an id or as a part of a key.
    comparable = text.lower() if "@" in text else text
    return blake2b(f"{field}\0{comparable}".encode(), digest_size=_DIGEST_BYTES).digest()


def _read_entries(value: object) -> Iterator[tuple[str, object]]:
    """Yield each entry that is not blank, and its place."""
    if is_missing(value):
        raise InvalidInputError.of(
            "suppress", f"is empty, so that nobody would be left out: {_NOT_A_LIST}. Give [] for nobody"
        )
    is_text = isinstance(value, str) and value.lstrip()[:1] not in ("[", "{")
    if is_text or isinstance(value, os.PathLike) or is_storage_path(value):
        yield from _read_file(without_credentials("suppress", value.strip()) if isinstance(value, str) else value)
        return
    data = parse_json_text("suppress", value)
    # A table, for one, can be iterated over, and would give the names of its columns.
    if not isinstance(data, list | AbstractSet):
        raise InvalidInputError.of("suppress", _NOT_A_LIST)
    for index, entry in enumerate(data):
        if not is_missing(entry):
            yield f"suppress[{index}]", entry


def _read_file(path: Any) -> Iterator[tuple[str, object]]:
    for number, line in read_lines("suppress", path):
        place = f"suppress, line {number}"
        try:
            text = "" if line is None else line.decode()
            entry = load_json(text) if text[:1] in ("{", '"') else text
        except RepeatedKeyError as error:
            raise InvalidInputError.of(place, str(error)) from None
        except (ValueError, RecursionError):
            raise InvalidInputError.of(place, "is neither UTF-8 text nor JSON") from None
        if line is None or text.startswith("["):
            raise InvalidInputError.of(place, "is not one key or recipient: the file has one entry a line")
        if not is_missing(entry):
            yield place, entry


def _read_names(entry: object) -> list[tuple[str, str]]:
    """Return what a message may be known by for an entry to hold it: pairs of a field and a text."""
    if isinstance(entry, Mapping):
        return _read_object(entry)
    if (text := write_id(entry)) is not None:
        return [(_ANY, text)]
    if not isinstance(entry, str):
        raise InvalidInputError.of("", _NOT_AN_ENTRY)
    return _read_text(strip_invisible(entry))


def _read_text(text: str) -> list[tuple[str, str]]:
    if problem := find_unwritable(text):
        raise InvalidInputError.of("", problem)
    if "," in text or ";" in text:
        raise InvalidInputError.of(
            "", f"holds a comma or a semicolon, as a row of a CSV does: one key or recipient a line; {_WRITE_AS_KEY}"
        )
    if _DECIMAL_TEXT.fullmatch(text):
        raise InvalidInputError.of("", f"is a whole number with a decimal point: write it without; {_WRITE_AS_KEY}")
    if text.startswith("+"):
        return [(_ANY, text), ("phone", read_phone(text))]
    role, colon, rest = text.partition(":")
    if colon and role.strip().lower() in _ROLES:
        return [(_ANY, text), *((field, strip_invisible(rest)) for field in ("id", "user_id", "email"))]
    if "@" in text:
        try:
            _Entry(email=text)
        except ValidationError as error:
            raise InvalidInputError.of("", f"{error.errors()[0]['msg']}; {_WRITE_AS_KEY}") from None
    return [(_ANY, text)]


def _read_object(fields: Mapping[str, object]) -> list[tuple[str, str]]:
    given = {name: value for name, value in fields.items() if not is_missing(value)}
    phone = given.pop("phone", None)
    # The role and the name of a recipient make no other person of them.
    given = {name: value for name, value in given.items() if name not in ("type", "name")}
    unknown = [name for name in given if name not in _Entry.model_fields]
    if unknown or not (given or phone):
        raise InvalidInputError.of("", f"needs {', '.join(_ADDRESSES)} or key, and no other field")
    try:
        entry = _Entry.model_validate(given)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        raise InvalidInputError(Problem("", f"{each['loc'][0]} {each['msg']}") for each in problems) from None
    found = [(name, str(value)) for name, value in entry.model_dump(exclude_none=True).items()]
    if isinstance(phone, str):
        found.append(("phone", read_phone(strip_invisible(phone))))
    elif phone is not None:
        raise InvalidInputError.of("", "phone must be text, with the plus sign")
    return found
