"""Reading the values that DAG authors write into fields: limits, times, choices, and whether there is a template."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.values import as_datetime, is_missing
from intercom_provider.api.version import parse_api_version, version_reaches

if TYPE_CHECKING:
    import jinja2

WaitFor: TypeAlias = Literal["delivered", "read"]
Limit: TypeAlias = int | float | None
Duplicates: TypeAlias = Literal["skip", "send", "fail"]
Unsubscribed: TypeAlias = Literal["send", "skip"]
Invalid: TypeAlias = Literal["fail", "reject"]

DUPLICATES: Final = get_args(Duplicates)
UNSUBSCRIBED: Final = get_args(Unsubscribed)
INVALID: Final = get_args(Invalid)
MAX_CONCURRENCY: Final = 500
MIN_INTERVAL_SECONDS: Final = 0.1
MAX_SECONDS: Final = 10 * 366 * 86_400.0

_MIN_STATUS_VERSION: Final = "2.16"
# 0.29 of a hundred must allow 29, and floats make 28.999999999999996 of it.
_ROUNDING: Final = 1e-6


def is_untemplated(value: object) -> bool:
    """
    Check whether a value has no template in it, so that it can be checked when a DAG is parsed.

    :param value: Any field's value, as an operator's constructor gets it.
    :return: False for a template, and for a value that Airflow resolves when the task runs (another task's output).
    """
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    if isinstance(value, list | tuple):
        return all(map(is_untemplated, value))
    if isinstance(value, Mapping):
        return all(map(is_untemplated, value.values()))
    return value is None or isinstance(value, bool | int | float | date | timedelta)


def source_tasks(value: object) -> tuple[str, ...]:
    """
    List the tasks whose output a field is to be.

    :param value: A field's value as a constructor gets it, such as ``send.output`` or a list of these.
    :return: The ids of the tasks, each once; none for a value that stands in the DAG.
    """
    from airflow.sdk import XComArg

    return tuple(dict.fromkeys(task.task_id for task, _ in XComArg.iter_xcom_references(value)))


def replace_undefined(task: Any, jinja_env: jinja2.Environment) -> None:
    """
    Replace what native rendering left undefined in a task's fields by None, so that it counts as missing.

    Rendering to text makes an empty text of it, or an error. Rendering to native objects leaves jinja's own object in
    the field, which raises at its first use, far from the template.

    :param task: The task, its templates rendered.
    :param jinja_env: The environment that has rendered them.
    :raises InvalidInputError: When the environment is strict, as Airflow's is by default; with the field.
    """
    from jinja2.nativetypes import NativeEnvironment

    if isinstance(jinja_env, NativeEnvironment):
        for name in task.template_fields:
            setattr(task, name, _without_undefined(name, getattr(task, name)))


def _without_undefined(field: str, value: Any) -> Any:
    from jinja2 import Undefined, UndefinedError

    if isinstance(value, Undefined):
        try:
            str(value)
        except UndefinedError as error:
            raise InvalidInputError.of(field, f"its template names something that does not exist ({error})") from None
        return None
    if type(value) in (list, tuple):
        return type(value)(_without_undefined(f"{field}.{index}", entry) for index, entry in enumerate(value))
    if type(value) is dict:
        return {name: _without_undefined(f"{field}.{name}", entry) for name, entry in value.items()}
    return value


def is_path(value: object) -> bool:
    """
    Check whether a value can be the path of a file or folder.

    :param value: Any field's value.
    :return: True for text, a path, and Airflow's ``ObjectStoragePath``, which is not an ``os.PathLike``.
    """
    return isinstance(value, str | os.PathLike) or (hasattr(value, "protocol") and hasattr(value, "conn_id"))


def check_choice(problems: list[Problem], name: str, value: object, choices: tuple[str, ...]) -> None:
    """
    Add a problem when a field's value is not one of its choices.

    :param problems: The list that the problem is added to.
    :param name: The field.
    :param value: The field's value.
    :param choices: The allowed values.
    """
    if value not in choices:
        problems.append(Problem(name, f"must be one of {', '.join(choices)}"))


def read_seconds(name: str, value: object, *, above: float = -1.0) -> float:
    """
    Read a duration.

    :param name: The field, for the error.
    :param value: What stands in it: seconds or a timedelta.
    :param above: What it has to be above (default: it may be 0).
    :return: Seconds.
    :raises InvalidInputError: When it is not a duration, or longer than ten years.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    number = None if isinstance(seconds, bool) or not isinstance(seconds, int | float) else seconds
    if number is None or not max(0.0, above) <= number <= MAX_SECONDS or number == above:
        least = " from 0 on" if above < 0 else f", above {above:g}"
        raise InvalidInputError.of(name, f"must be seconds{least}, or a timedelta, and at most ten years")
    return float(number)


def read_interval(name: str, value: object) -> float:
    """
    Read a duration between two polls.

    :param name: The field, for the error.
    :param value: What stands in it: seconds or a timedelta.
    :return: Seconds, at least 0.1: without a pause a wait would use up the rate limit of the whole app.
    :raises InvalidInputError: When it is not a duration, or longer than ten years.
    """
    return max(read_seconds(name, value), MIN_INTERVAL_SECONDS)


def read_not_after(value: object) -> float | None:
    """
    Parse ``not_after``: the last time at which a message may be sent.

    :param value: Epoch seconds, a datetime or ISO text; None for no limit.
    :return: Epoch seconds; None for no limit.
    :raises InvalidInputError: When it is not a time.
    """
    return _read_time("not_after", value)


def read_created_after(value: object) -> float | None:
    """
    Parse ``created_after``: the time from which events count.

    :param value: Epoch seconds, a datetime or ISO text; None for all events.
    :return: Epoch seconds; None for all events.
    :raises InvalidInputError: When it is not a time.
    """
    return _read_time("created_after", value)


def _read_time(name: str, value: object) -> float | None:
    if is_missing(value):
        return None
    try:
        return as_datetime(value).timestamp()
    except ValueError:
        raise InvalidInputError.of(name, "is not a time: give epoch seconds, a datetime or ISO text") from None


def read_expected_count(value: object) -> int | None:
    """
    Parse ``expected_count``: how many messages there will be.

    :param value: A whole number, also as text; None when it is unknown.
    :return: The number; None when it is unknown.
    :raises InvalidInputError: When it is something else.
    """
    if is_missing(value):
        return None
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,12}", text):
        raise InvalidInputError.of("expected_count", "must be a whole number from 0 on")
    return int(text)


def check_status_version(value: object) -> None:
    """
    Check that an API version supports the statuses of messages.

    :param value: The value of ``api_version``; missing is allowed.
    :raises InvalidInputError: When it is not a version, or too old.
    """
    if not is_missing(value) and not version_reaches(parse_api_version(value), _MIN_STATUS_VERSION):
        raise InvalidInputError.of("api_version", f"the status of messages needs {_MIN_STATUS_VERSION} or later")


def allowance(limit: Limit, share_of: int) -> float:
    """
    Return how many messages a limit allows.

    :param limit: A number, a share or None.
    :param share_of: The number of messages that a share refers to.
    :return: The number of messages; infinite for None.
    """
    if limit is None:
        return math.inf
    return limit * share_of + _ROUNDING if isinstance(limit, float) else limit


def parse_limit(field_name: str, value: object) -> Limit:
    """
    Parse a limit on the number of messages.

    :param field_name: The field, for the error.
    :param value: A whole number from 0, a share strictly between 0 and 1, or None for no limit; also as text.
    :return: The limit.
    :raises InvalidInputError: When it is something else.
    """
    if value is None:
        return None
    number = _number(value)
    if isinstance(number, float) and not 0 < number < 1:
        number = None
    if number is None or number < 0:
        raise InvalidInputError.of(
            field_name,
            "must be a whole number from 0 on, a share strictly between 0 and 1 (0.05 is five in a hundred), or None "
            "for no limit",
        )
    return number


def check_max_messages(value: object) -> None:
    """
    Check how many messages a batch may have.

    :param value: The value of ``max_messages``.
    :raises InvalidInputError: When it is neither a whole number from 1 on nor None.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InvalidInputError.of("max_messages", "must be a whole number from 1 on, or None for no limit")


def check_total(total: int, max_messages: int | None) -> None:
    """
    Check that a batch has not more messages than it may have.

    :param total: How many it has.
    :param max_messages: How many it may have; None for any number.
    :raises InvalidInputError: When it has more.
    """
    if max_messages is not None and total > max_messages:
        raise InvalidInputError.of(
            "max_messages",
            f"the input has {total:,} messages, and max_messages allows {max_messages:,}: nothing was sent",
        )


def check_budget(value: object) -> None:
    """
    Check a share of the rate limit.

    :param value: The value of ``budget``.
    :raises InvalidInputError: When it is not above 0 and at most 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise InvalidInputError.of("budget", "must be a share of the rate limit: above 0, at most 1")


def check_concurrency(value: object) -> None:
    """
    Check a number of requests in flight.

    :param value: The value of ``concurrency``.
    :raises InvalidInputError: When it is neither a whole number within its limits nor None.
    """
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_CONCURRENCY
    ):
        raise InvalidInputError.of(
            "concurrency", f"must be a whole number from 1 to {MAX_CONCURRENCY}, or None for as many as it takes"
        )


def _number(value: object) -> int | float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        return int(value) if isinstance(value, str) and value.strip().isdigit() else float(str(value))
    except ValueError:
        return None
