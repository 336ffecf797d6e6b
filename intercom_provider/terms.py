"""What is waited for, as users write it."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Final

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.settings import parse_api_version, version_reaches
from intercom_provider.api.values import as_datetime, is_missing

_NEEDED_VERSION: Final = "2.16"


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
