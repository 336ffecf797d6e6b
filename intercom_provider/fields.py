"""What is waited for, as users write it."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.values import as_datetime, is_missing
from intercom_provider.api.version import parse_api_version, version_reaches

WaitFor: TypeAlias = Literal["delivered", "read"]
Limit: TypeAlias = int | float | None

_NEEDED_VERSION: Final = "2.16"
# 0.29 of a hundred are 29, and not the 28.999999999999996 that the machine makes of it.
_ROUNDING: Final = 1e-6


def read_settle_for(value: object) -> float:
    """
    Read for how long a ruleset must not have grown.

    :param value: What stands in ``settle_for``.
    :return: Seconds.
    :raises InvalidInputError: When it is none.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise InvalidInputError.of("settle_for", "must be seconds from 0 on, or a timedelta")
    return float(seconds)


def read_created_after(value: object) -> float | None:
    """
    Read from when on events count.

    :param value: What stands in ``created_after``.
    :return: Epoch seconds; None for all events.
    :raises InvalidInputError: When it is none.
    """
    if is_missing(value):
        return None
    try:
        return as_datetime(value).timestamp()
    except ValueError:
        raise InvalidInputError.of("created_after", "is no time: give epoch seconds, a datetime or ISO text") from None


def read_expected_count(value: object) -> int | None:
    """
    Read how many messages there will be.

    :param value: What stands in ``expected_count``.
    :return: The number; None when that is unknown.
    :raises InvalidInputError: When it is none.
    """
    if is_missing(value):
        return None
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,12}", text):
        raise InvalidInputError.of("expected_count", "must be a whole number from 0 on")
    return int(text)


def check_status_version(value: object) -> None:
    """
    Check that an API version has the statuses of messages.

    :param value: What stands in ``api_version``.
    :raises InvalidInputError: When it is none, or has not.
    """
    if not is_missing(value) and not version_reaches(parse_api_version(value), _NEEDED_VERSION):
        raise InvalidInputError.of("api_version", f"the status of messages needs {_NEEDED_VERSION} or later")


def allowance(limit: Limit, share_of: int) -> float:
    """
    Tell how many messages a limit allows.

    :param limit: A number, a share or None.
    :param share_of: What a share is a share of.
    :return: The number; infinite for None.
    """
    if limit is None:
        return math.inf
    return limit * share_of + _ROUNDING if isinstance(limit, float) else limit


def parse_limit(field_name: str, value: object) -> Limit:
    """
    Read a limit.

    :param field_name: The field, for the error.
    :param value: A whole number from 0, a share strictly between 0 and 1, or None; also as text.
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


def _number(value: object) -> int | float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        return int(value) if isinstance(value, str) and value.strip().isdigit() else float(str(value))
    except ValueError:
        return None
