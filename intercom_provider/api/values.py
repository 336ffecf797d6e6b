"""What a user's values look like once Airflow's templates and XCom have handled them."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

import pendulum
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

NOT_TEXT: Final = (
    "is not text. A template rendered to another type (is render_template_as_native_obj on?): "
    "quote the value, or make it text in the template"
)

_NO_TIME: Final = "is no time: give epoch seconds (not milliseconds), a datetime or ISO text"
# A minute or two of clock difference is no attempt at scheduling.
_CLOCK_DIFFERENCE: Final = timedelta(minutes=5)


def is_missing(value: object) -> bool:
    """
    Tell whether a value stands for nothing.

    :param value: Any field's value, perhaps rendered from a template.
    :return: True for None, an empty or blank string, and "None", which is what None renders to.
    """
    return value is None or (isinstance(value, str) and value.strip() in ("", "None"))


def parse_json_text(value: object) -> object:
    """
    Turn what a template or XCom made of a list or an object back into one.

    :param value: Any field's value: a sequence of Airflow's own type becomes a list, a string that is
        JSON (or what Python prints for the same) becomes what it says; the rest is returned as it is.
    :return: The value as plain data.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        for read in (json.loads, ast.literal_eval):
            try:
                return read(value.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
        return value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | list):
        return list(value)
    return value


def is_single_word(text: str) -> bool:
    """
    Tell whether a text can be an id.

    :param text: Any text.
    :return: True for characters of ASCII without white space between them.
    """
    return text.isascii() and len(text.split()) == 1


def as_datetime(value: object) -> datetime:
    """
    Read a moment in time.

    :param value: Epoch seconds (also as text), a datetime or ISO 8601 text, also ``20240501``; without a zone
        it is UTC.
    :return: The moment, with a zone.
    :raises ValueError: When it is none.
    """
    if isinstance(value, str):
        value = _moment_in(value.strip())
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(_NO_TIME)  # noqa: TRY004 - one error for whatever is no time
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(_NO_TIME) from error


def _moment_in(text: str) -> object:
    # Eight digits are a day ({{ ds_nodash }}); as seconds they would lie in 1970.
    is_day = len(text) == 8 and text.isdigit()  # noqa: PLR2004 - YYYYMMDD
    if text.lstrip("-").replace(".", "", 1).isdigit() and not is_day:
        return float(text)
    try:
        return pendulum.parse(text)
    except Exception as error:  # the parser fails in many ways
        raise ValueError(_NO_TIME) from error


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise PydanticCustomError("text", NOT_TEXT)
    return _whole(value)


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("half", "holds half a character (a lone surrogate), which cannot travel") from None
    return text


def _identifier(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise PydanticCustomError("identifier", "is no id: give the id alone, as text or a whole number")
    return _whole(value.strip()) if isinstance(value, str) else value


def _past(value: object) -> int:
    try:
        moment = as_datetime(value)
    except ValueError:
        raise PydanticCustomError("time", _NO_TIME) from None
    if moment > datetime.now(UTC) + _CLOCK_DIFFERENCE:
        raise PydanticCustomError(
            "future",
            "lies in the future. It backdates a message and schedules nothing: Intercom would send it at "
            "once. Schedule the DAG instead (and give seconds, not milliseconds)",
        )
    return int(moment.timestamp())


Text = Annotated[str, BeforeValidator(_text)]
Identifier = Annotated[str | int, BeforeValidator(_identifier)]
PastSeconds = Annotated[int, BeforeValidator(_past)]
