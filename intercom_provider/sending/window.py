"""
The local times between which messages go out.

A window is judged by the wall clock of a zone, so the nights of the clock change need care. Where the clock jumps
forward over the opening, the window opens with the jump; where it jumps back, a window may open a second time. So the
next opening is not computed from the date alone: of the moments at which the window can open, which are its opening
time in either reading and the jumps themselves, the first one at which it really is open counts. It closes likewise.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, NamedTuple

from intercom_provider.api.errors import InvalidInputError, StoppedError
from intercom_provider.api.values import is_missing
from intercom_provider.ledger.repeat_after import read_timezone
from intercom_provider.ledger.stateless import StatelessLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import tzinfo

    from intercom_provider.ledger.ledger import Ledger

_NOT_A_WINDOW: Final = (
    'must be two local times, such as ("09:00", "20:00"): messages go out from the first on, and no longer from the '
    "second on. The window may cross midnight"
)
MAX_SLEEP_SECONDS: Final = 60.0
"""Until when a task sleeps; a longer wait is deferred."""

_STOP_CHECK_SECONDS: Final = 0.2
_HOUR: Final = timedelta(hours=1)
_SECOND: Final = timedelta(seconds=1)
# A zone may skip a whole day, as Samoa did when it moved across the date line.
_MAX_DAYS: Final = 4
_PAIR: Final = 2


def sleep_until(moment: datetime, stopped: Callable[[], bool]) -> bool:
    """
    Wait in place for a window that opens soon, as a deferral would take as long.

    :param moment: When it opens.
    :param stopped: Returns True when the task was told to stop.
    :return: False at once when it does not open within a minute.
    :raises StoppedError: When the task was told to stop.
    """
    seconds = (moment - datetime.now(UTC)).total_seconds()
    if seconds > MAX_SLEEP_SECONDS:
        return False
    end = monotonic() + seconds
    while (left := end - monotonic()) > 0:
        if stopped():
            raise StoppedError("the task was told to stop before the window opened; what waits for it was not sent")
        sleep(min(left, _STOP_CHECK_SECONDS))
    return True


def check_outlives_deferral(ledger: Ledger) -> None:
    """
    Check that a ledger is still there when a deferred task goes on.

    :param ledger: The ledger.
    :raises InvalidInputError: When it forgets everything, as before Airflow 3.3 without a table.
    """
    if isinstance(ledger, StatelessLedger):
        raise InvalidInputError.of(
            "send_window",
            "needs a ledger that outlives a deferral: set ledger_conn_id, or use Airflow 3.3 or later, which keeps one "
            "itself",
        )


class WindowClosedError(Exception):
    """
    A message must not go out yet.

    :param opens_at: When it may.
    """

    def __init__(self, opens_at: datetime) -> None:
        super().__init__(f"the window opens at {opens_at.isoformat(timespec='seconds')}")
        self.opens_at = opens_at


class SendWindow(NamedTuple):
    """
    A window in a time zone.

    :param opens: The local time from which messages go out.
    :param closes: The local time from which they do not; before ``opens`` when the window crosses midnight.
    :param zone: The zone.
    """

    opens: time
    closes: time
    zone: tzinfo

    def is_open(self, moment: datetime) -> bool:
        """
        Check whether messages may go out at a moment.

        :param moment: The moment, with a time zone.
        :return: True when they may.
        """
        local = moment.astimezone(self.zone).time()
        if self.opens < self.closes:
            return self.opens <= local < self.closes
        return local >= self.opens or local < self.closes

    def opens_at(self, moment: datetime) -> datetime:
        """
        Return when messages may go out.

        :param moment: The moment from which on, with a time zone.
        :return: The moment itself when the window is open, else when it opens next, in UTC.
        """
        return moment.astimezone(UTC) if self.is_open(moment) else self.changes_at(moment)

    def changes_at(self, moment: datetime) -> datetime:
        """
        Return when an open window closes next, or a closed one opens.

        :param moment: The moment from which on, with a time zone.
        :return: The moment, in UTC.
        """
        start, is_open = moment.astimezone(UTC), self.is_open(moment)
        return min(each for each in self._candidates(start) if each > start and self.is_open(each) != is_open)

    def _candidates(self, start: datetime) -> Iterator[datetime]:
        first = start.astimezone(self.zone).date()
        for day in range(-1, _MAX_DAYS):
            on: date = first + timedelta(days=day)
            for at in (self.opens, self.closes):
                for fold in (0, 1):
                    yield datetime.combine(on, at, self.zone).replace(fold=fold).astimezone(UTC)
        for hour in range(24 * _MAX_DAYS):
            before = start + hour * _HOUR
            if self._offset(before) != self._offset(before + _HOUR):
                yield self._find_jump(before)

    def _find_jump(self, before: datetime) -> datetime:
        """Find the moment within an hour at which the zone's clock jumps, to the second."""
        start = before.replace(microsecond=0)
        after = start + _HOUR + _SECOND
        while after - start > _SECOND:
            middle = start + (after - start) // 2
            middle = middle.replace(microsecond=0)
            if self._offset(middle) == self._offset(before):
                start = middle
            else:
                after = middle
        return after

    def _offset(self, moment: datetime) -> timedelta | None:
        return moment.astimezone(self.zone).utcoffset()


def read_window(value: object, timezone: object) -> SendWindow | None:
    """
    Read ``send_window`` and the time zone that it is in.

    :param value: Two times, as text (``09:00``, ``09:00:30``) or ``datetime.time``; None for no window.
    :param timezone: An IANA name such as ``Europe/Dublin``.
    :return: The window; None when there is none.
    :raises InvalidInputError: When one of them cannot be read, or there is a window without a time zone.
    """
    hours = read_hours(value)
    if hours is None:
        return None
    if is_missing(timezone):
        raise InvalidInputError.of("timezone", "is needed with send_window: set it to a zone such as Europe/Dublin")
    return SendWindow(*hours, read_timezone(timezone))


def read_hours(value: object) -> tuple[time, time] | None:
    """
    Read ``send_window`` where the time zone is each message's own.

    :param value: Two times, as :func:`read_window` reads them; None for no window.
    :return: When it opens and closes; None when there is no window.
    :raises InvalidInputError: When it cannot be read.
    """
    if is_missing(value):
        return None
    if not isinstance(value, list | tuple) or len(value) != _PAIR:
        raise InvalidInputError.of("send_window", _NOT_A_WINDOW)
    opens, closes = map(_read_time, value)
    if opens == closes:
        raise InvalidInputError.of("send_window", f"opens and closes at the same time: it {_NOT_A_WINDOW}")
    return opens, closes


def _read_time(value: object) -> time:
    if isinstance(value, str):
        try:
            value = time.fromisoformat(value.strip())
        except ValueError:
            raise InvalidInputError.of("send_window", _NOT_A_WINDOW) from None
    if not isinstance(value, time) or value.tzinfo is not None:
        raise InvalidInputError.of("send_window", _NOT_A_WINDOW)
    return value.replace(microsecond=0, fold=0)
