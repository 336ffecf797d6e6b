"""
Read JSON that people wrote, or that a template or XCom has turned into text.

A key that stands twice in one object is an error. Python keeps the last of the two and says nothing, so that a message
could go to another phone than the one its author reads first.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any, Final

from intercom_provider.api.errors import InvalidInputError

_MAX_QUOTED_CHARS: Final = 40


class RepeatedKeyError(ValueError):
    """
    A key stands twice in one object.

    :param key: The key.
    """

    def __init__(self, key: object) -> None:
        name = key[:_MAX_QUOTED_CHARS] if isinstance(key, str) else key
        super().__init__(
            f"has the key {name!r} twice in one object, and only one of the values can be meant: remove one"
        )


def load_json(text: str | bytes) -> Any:
    """
    Parse JSON.

    :param text: The JSON, as text or in UTF-8.
    :return: What it holds.
    :raises RepeatedKeyError: When a key stands twice in one object.
    :raises ValueError: When it is not JSON.
    """
    return _DECODER.decode(text) if isinstance(text, str) else json.loads(text, object_pairs_hook=_as_object)


def read_json(field: str, text: str | bytes, not_json: str) -> Any:
    """
    Read a field that has to be JSON.

    :param field: The field's name, for the error.
    :param text: The JSON, as text or in UTF-8.
    :param not_json: What the error says when it is not JSON.
    :return: What it holds.
    :raises InvalidInputError: When it is not JSON, or when a key stands twice in one object.
    """
    try:
        return load_json(text)
    except RepeatedKeyError as error:
        raise InvalidInputError.of(field, str(error)) from None
    except (ValueError, RecursionError):
        raise InvalidInputError.of(field, not_json) from None


def parse_json_text(field: str, value: object) -> object:
    """
    Parse a list or an object that a template or XCom has turned into text or into a type of Airflow's own.

    :param field: The field's name, for the error.
    :param value: The field's value.
    :return: The list or object that a text holds as JSON or as Python prints it; another sequence as a list; any
        other value unchanged.
    :raises InvalidInputError: When a key stands twice in an object of the text.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        for read in (load_json, _load_literal):
            try:
                return read(value.strip())
            except RepeatedKeyError as error:
                raise InvalidInputError.of(field, str(error)) from None
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                continue
        return value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | list):
        return list(value)
    return value


def _load_literal(text: str) -> object:
    """Parse an object or a list as Python prints it."""
    tree = ast.parse(text, mode="eval")
    found = ast.literal_eval(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            _as_object([(ast.literal_eval(key), None) for key in node.keys if key is not None])
    return found


def _as_object(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise RepeatedKeyError(next(key for index, key in enumerate(keys) if key in keys[:index]))
    return found


# Made once, and not for each line of a file.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_as_object)
