"""Reading users' values in the forms that Airflow's templates and XCom give them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

import pendulum
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from intercom_provider.api.characters import as_one_line, find_control, find_unwritable, strip_invisible
from intercom_provider.api.errors import InvalidInputError

NOT_TEXT: Final = (
    "is not text. A template rendered to another type (is render_template_as_native_obj on?): "
    "quote the value, or make it text in the template"
)

# Whether an address exists only its mail server knows: this refuses names, lists and what cannot be one at all.
_EMAIL: Final = re.compile(
    r"[^\s@<>()\[\]\"',;:\\]+(?:'[^\s@<>()\[\]\"',;:\\]+)*@[^\s@<>()\[\]\"',;:\\.]+(?:\.[^\s@<>()\[\]\"',;:\\.]+)*"
)
_NOT_EMAIL: Final = (
    "must be one email address alone, such as ada@example.com: without a name, brackets, blanks or a second address"
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
    :return: True for None, an empty or blank string, and "None", to which a template renders None.
    """
    return value is None or (isinstance(value, str) and value.strip() in ("", "None"))


def read_word(field: str, value: object) -> str:
    """
    Read an id or an address that is not a field of a message.

    :param field: Its name, for the error.
    :param value: The id, as text or a number.
    :return: The text, stripped of white space and invisible characters.
    :raises InvalidInputError: When it is empty, or has such characters inside.
    """
    text = strip_invisible(str(value))
    problem = find_unwritable(text) or ("" if text else _EMPTY)
    if problem:
        raise InvalidInputError.of(field, problem)
    return text


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
        raise PydanticCustomError("text", NOT_TEXT)
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
    return text


def _email(value: object) -> str:
    text = _word(value)
    if not _EMAIL.fullmatch(text):
        raise PydanticCustomError("email", _NOT_EMAIL)
    return text


def _choice(value: object) -> object:
    return strip_invisible(value) if isinstance(value, str) else value


def _identifier(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise PydanticCustomError("identifier", "is not an id: give the id alone, as text or a whole number")
    return _word(value) if isinstance(value, str) else value


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
