"""
After what time a message of a campaign may go out once more to the same person.

A weekly DAG starts a minute earlier one week than the week before, and its day has 23 or 25 hours twice a year. Exact
seconds would skip whole weeks then. So whole days are counted on the calendar of a time zone, from the day of the send,
and only a time that is not whole days counts exactly.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.values import is_missing

_TEXT: Final = re.compile(r"([1-9][0-9]{0,4}) ?(d|h|m)")
_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}
_DAY: Final = timedelta(days=1)


class RepeatAfter(NamedTuple):
    """
    A time after which a message may be sent again.

    :param time: The time; whole days count calendar days.
    :param timezone: The zone in which a day begins (default UTC).
    """

    time: timedelta
    timezone: tzinfo = UTC

    def allows(self, sent_at: datetime, now: datetime) -> bool:
        """
        Check whether a message that was sent may be sent again.

        :param sent_at: When it was sent.
        :param now: The present moment.
        :return: True once the time has passed.
        """
        if self.time % _DAY:
            return now - sent_at >= self.time
        days = now.astimezone(self.timezone).date() - sent_at.astimezone(self.timezone).date()
        return days >= self.time


def read_repeat_after(value: object, timezone: object = None) -> RepeatAfter | None:
    """
    Read ``repeat_after`` and the time zone of its days.

    :param value: A timedelta, or a number of days, hours or minutes such as ``7d``, ``12h``, ``90m``; None for never.
    :param timezone: An IANA name such as ``Europe/Dublin``; None (default) for UTC.
    :return: The time; None when a message is never repeated.
    :raises InvalidInputError: When one of them cannot be read.
    """
    zone = read_timezone(timezone)
    if is_missing(value):
        return None
    time = value
    if isinstance(value, str) and (match := _TEXT.fullmatch(value.strip().lower())):
        time = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if not isinstance(time, timedelta) or time <= timedelta(0):
        raise InvalidInputError.of(
            "repeat_after", "must be a timedelta above 0, or text such as 7d, 12h or 90m (days, hours, minutes)"
        )
    return RepeatAfter(time, zone)


def read_timezone(value: object) -> tzinfo:
    """
    Read a time zone.

    :param value: An IANA name, or None for UTC.
    :return: The zone.
    :raises InvalidInputError: When there is none of that name.
    """
    if is_missing(value):
        return UTC
    try:
        return ZoneInfo(str(value).strip())
    except (ValueError, OSError, KeyError):
        raise InvalidInputError.of("timezone", "must be the name of a time zone such as Europe/Dublin") from None
