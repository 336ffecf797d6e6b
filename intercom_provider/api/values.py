"""Reading users' values in the forms that Airflow's templates and XCom give them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Final

import pendulum
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from intercom_provider.api.cells import as_plain, is_gap, write_id
from intercom_provider.api.characters import as_one_line, find_control, find_unwritable, strip_invisible
from intercom_provider.api.errors import InvalidInputError

IS_NUMBER: Final = "is a number, not text"
"""The begin of what is wrong with a number in the place of a text."""

# What programs write for a missing value when they make text of it. As an id it would be that of many people.
_WORDS_FOR_NOTHING: Final = frozenset(
    (
        *("nan", "NaN", "NAN", "-nan", "NaT", "<NA>", "#N/A", "N/A", "n/a", "None", "NONE", "none"),
        *("null", "NULL", "Null", "undefined", "Undefined", "inf", "-inf", "Infinity", "-Infinity"),
    )
)
# Whether an address exists only its mail server knows: this refuses names, lists and what cannot be one at all.
_EMAIL: Final = re.compile(
    r"[^\s@<>()\[\]\"',;:\\]+(?:'[^\s@<>()\[\]\"',;:\\]+)*@[^\s@<>()\[\]\"',;:\\.]+(?:\.[^\s@<>()\[\]\"',;:\\.]+)*"
)
_NOT_EMAIL: Final = (
    "must be one email address alone, such as ada@example.com: without a name, brackets, blanks or a second address"
)
_NOT_ID: Final = "is not an id: give the id alone, as text or a whole number"
_UNSURE_ID: Final = (
    "is a float, and no whole number that is certain to have all its digits: keep the ids of a table as text"
)
_EMPTY: Final = "holds nothing that can be seen"
_MAX_TIME_CHARS: Final = 100
_NOT_TIME: Final = "is not a time: give epoch seconds (not milliseconds), a datetime or ISO text"
# Clocks differ by a minute or two. A later time is taken for an attempt to schedule the message.
_MAX_CLOCK_DIFFERENCE: Final = timedelta(minutes=5)


def is_missing(value: object) -> bool:
    """
    Check whether a value counts as missing.

    :param value: Any field's value, perhaps rendered from a template.
    :return: True for None, NaN, NaT and NA, an empty or blank string, and "None", to which a template renders None.
    """
    if isinstance(value, str):
        return value.strip() in ("", "None")
    return value is None or is_gap(value)


def not_text(value: object) -> str:
    """
    Explain what a value is that should be text.

    :param value: Any value but text.
    :return: What is wrong with it, without the value.
    """
    value = as_plain(value)
    if value is None:
        return "is missing: give a text"
    if isinstance(value, bool):
        return "is true or false, not text"
    if isinstance(value, int | float | Decimal):
        return f"{IS_NUMBER}: write it in quotes, or make it text where it comes from"
    if isinstance(value, date):
        return "is a time, not text: write it in the form in which people shall read it"
    if isinstance(value, Mapping):
        return "is an object, not text"
    kind = "a list" if isinstance(value, list | tuple) else f"of type {type(value).__name__}"
    return f"is {kind}, not text"


def read_word(field: str, value: object) -> str:
    """
    Read an id or an address that is not a field of a message.

    :param field: Its name, for the error.
    :param value: The id, as text, a whole number or a UUID.
    :return: The text, stripped of white space and invisible characters.
    :raises InvalidInputError: When it is empty, has such characters inside, or is no id.
    """
    given = value if isinstance(value, str) else write_id(value)
    if given is None:
        raise InvalidInputError.of(field, _NOT_ID)
    text = strip_invisible(given)
    problem = find_unwritable(text) or _find_word_for_nothing(text) or ("" if text else _EMPTY)
    if problem:
        raise InvalidInputError.of(field, problem)
    return text


def read_id(field: str, value: object, wrong: str) -> str:
    """
    Read an id that is one word.

    :param field: Its name, for the error.
    :param value: The id, as text, a whole number or a UUID.
    :param wrong: What the error says about anything else.
    :return: The id as text.
    :raises InvalidInputError: When it is something else.
    """
    text = value if isinstance(value, str) else write_id(value)
    if text is None or not is_single_word(text):
        raise InvalidInputError.of(field, wrong)
    return read_word(field, text)


def is_single_word(text: str) -> bool:
    """
    Check whether a text is a single word, as ids are.

    :param text: Any text.
    :return: True for ASCII characters without white space between them.
    """
    return text.isascii() and len(text.split()) == 1


def as_datetime(value: object) -> datetime:
    """
    Parse a time.

    :param value: Epoch seconds (also as text), a datetime or ISO 8601 text, also ``20240501``. Without a time zone it
        is UTC.
    :return: The time, with a time zone.
    :raises ValueError: When it is not a time.
    """
    value = as_plain(value)
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, str):
        if len(value) > _MAX_TIME_CHARS:
            raise ValueError(_NOT_TIME)
        value = _parse_time_text(value.strip())
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(_NOT_TIME)  # noqa: TRY004 - one error for everything that is not a time
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(_NOT_TIME) from error


def _parse_time_text(text: str) -> object:
    # Eight digits are a day ({{ ds_nodash }}), because as seconds they would be in 1970.
    is_day = len(text) == 8 and text.isdigit()  # noqa: PLR2004 - YYYYMMDD
    if text.lstrip("-").replace(".", "", 1).isdigit() and not is_day:
        return float(text)
    try:
        return pendulum.parse(text)
    except Exception as error:  # the parser raises errors of many classes
        raise ValueError(_NOT_TIME) from error


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("text", "{problem}", {"problem": not_text(value)})
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("half", "holds half a character (a lone surrogate), which cannot be sent") from None
    return value


def _refuse(problem: str) -> None:
    if problem:
        raise PydanticCustomError("character", "{problem}", {"problem": problem})


def _visible(text: str) -> str:
    if not strip_invisible(text):
        raise PydanticCustomError("empty", _EMPTY)
    return text


def _body(value: object) -> str:
    # Word processors and spreadsheets write these for line and page breaks.
    text = _string(value).replace("\v", "\n").replace("\f", "\n")
    _refuse(find_control(text))
    return _visible(text)


def _line(value: object) -> str:
    line = as_one_line(_string(value))
    _refuse(find_control(line))
    return _visible(line)


def _word(value: object) -> str:
    text = _visible(strip_invisible(_string(value)))
    _refuse(find_unwritable(text))
    _refuse(_find_word_for_nothing(text))
    return text


def _find_word_for_nothing(text: str) -> str:
    if text not in _WORDS_FOR_NOTHING:
        return ""
    return f"is the text {text!r}, which stands for a missing value: leave it out where it is missing"


def _email(value: object) -> str:
    text = _word(value)
    if not _EMAIL.fullmatch(text):
        raise PydanticCustomError("email", _NOT_EMAIL)
    return text


def _choice(value: object) -> object:
    return strip_invisible(value) if isinstance(value, str) else as_plain(value)


def _identifier(value: object) -> object:
    if isinstance(value, str):
        return _word(value)
    text = write_id(value)
    if text is None:
        raise PydanticCustomError("identifier", _UNSURE_ID if isinstance(as_plain(value), float) else _NOT_ID)
    return value if isinstance(value, int) else text


def _past(value: object) -> int:
    try:
        moment = as_datetime(value)
    except ValueError:
        raise PydanticCustomError("time", _NOT_TIME) from None
    if moment > datetime.now(UTC) + _MAX_CLOCK_DIFFERENCE:
        raise PydanticCustomError(
            "future",
            "is in the future. It backdates a message and schedules nothing: Intercom would send the message at "
            "once. Schedule the DAG instead (and give seconds, not milliseconds)",
        )
    return int(moment.timestamp())


Text = Annotated[str, BeforeValidator(_body)]
"""A text of several lines that people read."""

Line = Annotated[str, BeforeValidator(_line)]
"""A text that people read, as one line."""

Word = Annotated[str, BeforeValidator(_word)]
"""A name for machines: a template, a locale, a phone."""

Email = Annotated[str, BeforeValidator(_email)]
"""One email address."""

Choice = BeforeValidator(_choice)
"""Strips one of several words."""

Identifier = Annotated[str | int, BeforeValidator(_identifier)]
PastSeconds = Annotated[int, BeforeValidator(_past)]
