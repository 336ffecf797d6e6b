"""Turn the values of tables inside an object into those of JSON, and name the place of what cannot be turned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from intercom_provider.api.cells import as_plain
from intercom_provider.api.errors import InvalidInputError, Problem

_MAX_DIGITS: Final = 40
_INFINITE: Final = "is infinite, and JSON has no such number: leave it out, or correct it where it comes from"
_UNEXACT: Final = "has more digits than a number in JSON keeps: make it text where it comes from"
_TIME: Final = "is a time, and JSON has none: make it text where it comes from"
_NOT_JSON: Final = "must be JSON alone (lists, objects, text, numbers): make other values text where they come from"


def as_json(field: str, value: object) -> object:
    """
    Return a value as JSON can hold it.

    :param field: The field that holds it, for the errors.
    :param value: Lists, objects and single values, also those of tables.
    :return: The same with a gap (NaN, NaT, NA) as None, numpy's and whole Decimal numbers as Python's, UUIDs as text.
    :raises InvalidInputError: With the place of each value that JSON cannot hold.
    """
    problems: list[Problem] = []
    try:
        converted = _convert(value, field, problems)
    except RecursionError:
        raise InvalidInputError.of(field, "is nested too deeply") from None
    if problems:
        raise InvalidInputError(problems)
    return converted


def _convert(value: object, path: str, problems: list[Problem]) -> object:
    if isinstance(value, Mapping):
        return {name: _convert(entry, f"{path}.{name}", problems) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_convert(entry, f"{path}.{index}", problems) for index, entry in enumerate(value)]
    plain = str(value) if isinstance(value, UUID) else as_plain(value)
    if plain is None or isinstance(plain, str | bool | int):
        return plain
    if problem := _find_problem(plain):
        problems.append(Problem(path, problem))
    elif isinstance(plain, Decimal):
        return int(plain) if plain == plain.to_integral_value() else float(plain)
    return plain


def _find_problem(value: object) -> str:
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            return _INFINITE
        is_exact = isinstance(value, float) or _is_exact(value)
        return "" if is_exact else _UNEXACT
    return _TIME if isinstance(value, date | timedelta) else _NOT_JSON


def _is_exact(value: Decimal) -> bool:
    """Check whether a Decimal stays what it is as a whole number or as a float."""
    if abs(value.adjusted()) > _MAX_DIGITS:
        return False
    return value == value.to_integral_value() or Decimal(repr(float(value))) == value
