"""
The rate limit as Intercom announces it, without I/O: how long to hold a request, and when to ask again.

The problem: Intercom counts the requests of a whole workspace in windows of ten seconds and answers the rest with 429.
Up to a hundred threads of a batch share that limit with other programs, which are not visible here. The count is known
from replies only, which arrive late and have a ``Date`` in whole seconds.

The idea: requests get slots at even distances. The distance follows from a budget below the announced limit, and from
what the last replies left of the window, whichever is slower. So requests slow down when other programs use the limit,
too. While the limit is unknown, one request goes alone as a probe, and its reply announces the limit. After a 429, or
when nothing is left, all requests wait until the window opens. A slot is at most a quarter of a second ahead, so that
a new pace soon holds for all.

Rejected: a token bucket, which after a pause lets many requests go at once, into a window that others may have used up;
and a fixed rate from the configuration, because limits differ between workspaces, and what others use is unknown.
"""

from __future__ import annotations

import functools
import math
import threading
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from intercom_provider.api.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DELAY_SECONDS: Final = 60.0
"""Seconds that one wait for the limit may last. Windows are 10 s long, so a longer one is a mistake of the header."""

# A request that arrives a moment before the window opens is answered with 429 again.
_OPENING_MARGIN_SECONDS: Final = 0.1
# After a 429 without a time, or with one that has passed.
_DEFAULT_HOLD_SECONDS: Final = 0.5
_DEFAULT_WINDOW_SECONDS: Final = 10.0

# Share of the budget that is used. Requests arrive less evenly than they leave, by up to 100 ms in 10 s, and catch up.
_BUDGET_TARGET_SHARE: Final = 0.98
# Share of the limit that is left free, for requests of others that are in flight and not yet counted in a reply.
_SPARE_SHARE: Final = 0.01
# How far back missed slots are made up for at once, when threads woke up late.
_MAX_CATCH_UP_SECONDS: Final = 0.1
# How far ahead a slot may be, so that a new pace or a closed window soon holds for everybody.
_MAX_AHEAD_SECONDS: Final = 0.25
_RECHECK_SECONDS: Final = 0.1

# A finite stand-in for infinity, which breaks the arithmetic below.
_MAX_NUMBER: Final = 1e15

_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500


@functools.lru_cache(maxsize=16)
def _epoch(text: str) -> float:
    return parsedate_to_datetime(text).timestamp()


def server_time(headers: Mapping[str, str], now: float) -> float:
    """
    Read the server's clock from a reply.

    :param headers: A reply's headers.
    :param now: This machine's clock, in epoch seconds, used when the reply has no readable ``Date``.
    :return: Epoch seconds.
    """
    try:
        return _epoch(headers["date"])
    except (KeyError, ValueError, OverflowError):
        return now


def seconds_until_open(headers: Mapping[str, str], now: float) -> float | None:
    """
    Read how long a reply asks to wait: ``Retry-After``, else ``X-RateLimit-Reset`` by the server's clock.

    :param headers: A reply's headers.
    :param now: This machine's clock, in epoch seconds.
    :return: Seconds, 0 or more; None when the reply does not say.
    """
    after = headers.get("retry-after", "").strip()
    if after.isascii() and after.isdigit():
        return float(after)
    clock = server_time(headers, now)
    try:
        return max(0.0, _epoch(after) - clock)
    except (ValueError, OverflowError):
        reset = _number(headers.get("x-ratelimit-reset"))
        return None if reset is None else max(0.0, reset - clock)


@dataclass(slots=True, eq=False)
class Reservation:
    """
    One request's state in a pacer, from the first question to its end.

    :param due: The earliest time to go, by the clock of the pacer (default 0: at once).
    :param slot: When the request may go, by the same clock; None (default) while it has no slot.
    :param news: Whether the last delay should be logged: it is new, and no other request has logged it.
    :param reported: Whether a delay of this request has been reported as news.
    :param share: The share of each announced window that all requests with a share may use together; None
        (default) for the pacer's budget.
    """

    due: float = 0.0
    slot: float | None = None
    news: bool = False
    reported: bool = False
    share: float | None = None


class _Window:
    """
    The window in which the server counts, as its replies describe it.

    The end of a window is given by the server's clock. A ``Date`` in whole seconds makes that clock appear up to a
    second slow. So the smallest difference between the clocks that was seen lately is used. It is too large by the
    time that a reply travels, so a window is believed to end late, never early.
    """

    def __init__(self) -> None:
        self.limit = 0.0
        self.length = _DEFAULT_WINDOW_SECONDS
        self._left = 0.0
        self._reset = -math.inf
        # The differences of this window and of the one before only, so that a clock that was set is followed soon.
        self._ahead = self._ahead_before = math.inf

    def learn(self, limit: float, left: float, reset: float, clock: float, now: float) -> None:
        """
        Record what a reply says about the window.

        :param limit: Requests in a window.
        :param left: Requests that are left in this one.
        :param reset: When it ends, by the server's clock.
        :param clock: When the reply was written, by the server's clock.
        :param now: When the reply arrived, by this machine's clock.
        """
        self.limit = limit
        if reset > self._reset:
            # There may have been other windows between the two, so this difference is an upper bound.
            self.length = min(self.length, max(1.0, reset - self._reset))
            self._left, self._reset = left, reset
            self._ahead_before, self._ahead = self._ahead, now - clock
        else:
            self._ahead = min(self._ahead, now - clock)
            if reset == self._reset:
                self._left = min(self._left, left)
        # A difference of up to a second comes from the Date's whole seconds, not from a longer window.
        if reset - clock > self.length + 1.0:
            self.length = reset - clock

    def local(self, moment: float) -> float:
        """Convert a time of the server's clock to this machine's clock."""
        return moment + min(self._ahead, self._ahead_before)

    def at(self, moment: float) -> tuple[float, float]:
        """Return how many requests are left at a time, and when its window ends. In an unknown window all are left."""
        end = self.local(self._reset)
        # An end that is further away is from before the clock was set back.
        if 0 < end - moment <= self.length + 1.0:
            return self._left, end
        return self.limit, moment + self.length - (moment - end) % self.length


class Pacer:
    """
    Delays requests while the announced limit is used up, and spaces them. Threads may share it.

    Each request has a :class:`Reservation`. Call :meth:`delay_for` until it returns 0, then :meth:`observe` with the
    reply, if there is one, and :meth:`release` once the request has ended, however it ended.

    :param budget: The share of each announced window that may be used, above 0 and up to 1. Requests are spaced
        evenly, and slow down when others use the limit, too. None (default) spaces nothing, and only waits while
        the limit is used up.
    :raises ValueError: When the budget is not such a share.
    """

    def __init__(self, budget: float | None = None) -> None:
        if budget is not None and not 0 < budget <= 1:
            raise ValueError("budget must be above 0 and at most 1")
        self._budget = budget
        self._lock = threading.Lock()
        self._closed_until = self._reported_until = 0.0
        self._window: _Window | None = None
        self._unlimited = False
        # The request that goes alone while the limit is unknown; its reply says what the limit is.
        self._probe: Reservation | None = None
        # Requests with a slot, which the server may not have counted in the last reply.
        self._in_flight = 0
        self._last_slot = 0.0
        self.usage = Usage()
        """What the clients that share this pacer have asked for."""

    @property
    def in_flight(self) -> int:
        """How many requests have a slot and have not ended."""
        return self._in_flight

    def delay_for(self, reservation: Reservation, now: float) -> float:
        """
        Return how long a request has to wait before it goes or asks again.

        :param reservation: The request's reservation.
        :param now: Seconds of a clock that is never set, such as ``time.monotonic``.
        :return: Seconds; 0 when it may go now.
        """
        with self._lock:
            # A time that is further ahead is from before that clock was set back.
            self._closed_until = min(self._closed_until, now + MAX_DELAY_SECONDS + _OPENING_MARGIN_SECONDS)
            closed, early = self._closed_until - now, reservation.due - now
            reservation.news = False
            if closed > 0:
                self._give_back(reservation)
                if now >= self._reported_until:
                    reservation.news, self._reported_until = True, self._closed_until
            elif early > 0:
                reservation.news = not reservation.reported
            if closed > 0 or early > 0:
                reservation.reported = True
                return max(min(closed, MAX_DELAY_SECONDS), early)
            if reservation.slot is None:
                reservation.slot, again = self._next_slot(reservation, now)
                if reservation.slot is None:
                    return again
                self._in_flight += 1
            reservation.slot = min(reservation.slot, now + _MAX_AHEAD_SECONDS)
            return max(0.0, reservation.slot - now)

    def observe(self, status: int, headers: Mapping[str, str], now: float, epoch_now: float | None = None) -> None:
        """
        Record a reply.

        :param status: Its HTTP status.
        :param headers: Its headers.
        :param now: When it arrived, by the clock of :meth:`delay_for`.
        :param epoch_now: When it arrived, in epoch seconds, which stands in for a ``Date`` that the reply lacks; None
            (default) when ``now`` is in epoch seconds.
        """
        left = _number(headers.get("x-ratelimit-remaining"))
        epoch_now = now if epoch_now is None else epoch_now
        with self._lock:
            end = self._learn(status, headers, left, now, server_time(headers, epoch_now))
            if status != _TOO_MANY_REQUESTS and (left is None or left > 0):
                return
            wait = seconds_until_open(headers, epoch_now) or 0.0
            if end is not None and "retry-after" not in headers:
                # The window's end, from many replies, is more exact than one reply, whose Date may be a second old.
                wait = end - now
            if wait <= 0 and status == _TOO_MANY_REQUESTS:
                wait = _DEFAULT_HOLD_SECONDS
            if wait > 0:
                self._closed_until = max(
                    self._closed_until, now + min(wait, MAX_DELAY_SECONDS) + _OPENING_MARGIN_SECONDS
                )

    def release(self, reservation: Reservation) -> None:
        """
        Return the slot of a request that has ended or will not be made.

        :param reservation: The request's reservation.
        """
        with self._lock:
            self._give_back(reservation)

    def _give_back(self, reservation: Reservation) -> None:
        self._in_flight -= reservation.slot is not None
        reservation.slot = None
        if self._probe is reservation:
            self._probe = None

    def _learn(
        self, status: int, headers: Mapping[str, str], left: float | None, now: float, clock: float
    ) -> float | None:
        """Record the window of a reply; return its end by the pacer's clock, None when the headers are unusable."""
        limit, reset = _number(headers.get("x-ratelimit-limit")), _number(headers.get("x-ratelimit-reset"))
        if limit is None or left is None or reset is None or limit < 1 or reset - clock > MAX_DELAY_SECONDS:
            # An error may come from a proxy in place of Intercom, so it does not show that there is no limit.
            if status < _SERVER_ERROR and status != _TOO_MANY_REQUESTS:
                self._unlimited = True
            return None
        self._window = self._window or _Window()
        self._window.learn(limit, left, reset, clock, now)
        return self._window.local(reset)

    def _next_slot(self, reservation: Reservation, now: float) -> tuple[float | None, float]:
        """Return a slot; or None, and the seconds after which to ask again."""
        budget = self._budget if reservation.share is None else reservation.share
        if budget is None or (self._window is None and self._unlimited):
            return now, 0.0
        if self._window is None:
            if self._probe is not None:
                return None, _RECHECK_SECONDS
            self._probe, self._last_slot = reservation, now
            return now, 0.0
        # The last slot is further ahead than that only when the clock was set back.
        last = self._last_slot = min(self._last_slot, now + _MAX_AHEAD_SECONDS)
        start = max(last, now)
        left, end = self._window.at(start)
        free = left - self._in_flight - _SPARE_SHARE * self._window.limit
        if free <= 0:
            return None, _RECHECK_SECONDS
        own = _BUDGET_TARGET_SHARE * max(1, math.floor(budget * self._window.limit)) / self._window.length
        slot = max(last + 1 / min(own, free / (end - start)), now - _MAX_CATCH_UP_SECONDS)
        if slot > now + _MAX_AHEAD_SECONDS:
            return None, min(slot - now - _MAX_AHEAD_SECONDS + _RECHECK_SECONDS, _MAX_AHEAD_SECONDS)
        self._last_slot = slot
        return slot, 0.0


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(number) else max(-_MAX_NUMBER, min(number, _MAX_NUMBER))
