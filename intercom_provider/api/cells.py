"""
Reading the single values of tables: what counts as missing, whole numbers, and numbers as people write them.

A column of whole numbers with one gap becomes a column of floats in pandas, a gap is NaN, NaT or NA, and databases hand
over Decimal and UUID. No library of tables is imported: their values are recognized by type.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

# The types of pandas.NA, pandas.NaT and numpy.ma.masked.
_TYPES_OF_GAPS: Final = frozenset({"NAType", "NaTType", "MaskedConstant"})
# Most values are of these types, and a tuple of them is checked fastest.
_NEVER_GAPS: Final = (str, int, dict, list, tuple)
_MAX_DIGITS: Final = 40
# Above it, floats lack some whole numbers, so that a digit may have been lost.
_MAX_EXACT_FLOAT: Final = 2**53
# A sum such as 0.1 + 0.2 needs more digits than anybody wrote.
_MAX_FLOAT_DIGITS: Final = 15


def is_gap(value: object) -> bool:
    """
    Check whether a value stands for a gap in a table.

    :param value: Any value.
    :return: True for NaN of any type, NaT and NA.
    """
    if value is None or isinstance(value, _NEVER_GAPS):
        return False
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, Decimal):
        return value.is_nan()
    kind = type(value)
    return kind.__name__ in _TYPES_OF_GAPS or (_is_scalar(value) and str(value) in ("nan", "NaT"))


def as_plain(value: Any) -> Any:
    """
    Return a scalar of numpy as Python's own.

    :param value: Any value.
    :return: The number or the time, None for a gap; any other value unchanged.
    """
    if value is None or isinstance(value, _NEVER_GAPS):
        return value
    if is_gap(value):
        return None
    if not _is_scalar(value):
        return value
    if value.dtype.kind == "f":
        # The short form: a float of 32 bits would otherwise show digits that it does not have.
        return float(str(value))
    return value.astype("datetime64[us]").item() if value.dtype.kind == "M" else value.item()


def _is_scalar(value: Any) -> bool:
    """Check for a scalar of numpy, which has a type and no extent."""
    return hasattr(value, "dtype") and getattr(value, "shape", None) == ()


def write_number(number: float | Decimal) -> str | None:
    """
    Write a number as people do.

    :param number: The number.
    :return: A whole float without decimals, a Decimal as it was written, nothing with an exponent. None for a number
        without such a form, which is infinite, very long, or a float with digits that nobody wrote.
    """
    if isinstance(number, int):
        return str(number) if number.bit_length() <= _MAX_DIGITS * 3 else None
    if isinstance(number, Decimal):
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -_MAX_DIGITS or abs(number.adjusted()) > _MAX_DIGITS:
            return None
        return f"{number:f}"
    if not math.isfinite(number):
        return None
    if number.is_integer():
        return str(int(number)) if abs(number) < _MAX_EXACT_FLOAT else None
    text = float.__repr__(number)
    digits = text.lstrip("-0.").replace(".", "")
    return text if digits.isdigit() and len(digits) <= _MAX_FLOAT_DIGITS else None


def write_id(value: object) -> str | None:
    """
    Write an id that a database or a table holds as something else than text.

    :param value: The id.
    :return: A UUID, and a whole number of whatever type, as text; None for everything else. A float that is too large
        to be sure of its last digit is no id.
    """
    value = as_plain(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    text = write_number(value)
    if isinstance(value, Decimal) and text is not None:
        return str(int(value)) if value == value.to_integral_value() else None
    return text if text is not None and "." not in text else None
