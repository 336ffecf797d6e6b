"""The rate limit as Intercom announces it, without I/O: how long to hold a request, and when to ask again."""

from __future__ import annotations

import functools
import math
import threading
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DELAY_SECONDS: Final = 60.0
"""Seconds that one wait for the limit lasts at most: windows are 10 s long, more would be a mistake."""

# A window that opens on the second still answers 429 when a request arrives a moment early.
_MARGIN: Final = 0.1
# For a 429 that names no moment, or one that has passed.
_SHORT_HOLD: Final = 0.5
_USUAL_WINDOW: Final = 10.0

# Requests arrive less evenly than they leave: room for 100 ms of each in 10 s, and for catching up.
_AIM: Final = 0.98
# Share of the limit left alone: what others who use it have under way is in no reply yet.
_SPARE: Final = 0.01
# Seconds' worth of slots that may be made up for at once, when the lanes woke up late.
_CATCH_UP: Final = 0.1
# No slot is given further ahead, so that a new pace or a closed window soon holds for everybody.
_AHEAD: Final = 0.25
_ASK_AGAIN: Final = 0.1

# Keeps infinity out of the sums, and says as much.
_ABSURD: Final = 1e15

_REFUSED: Final = 429
_SERVER_ERROR: Final = 500


@functools.lru_cache(maxsize=16)
def _epoch(text: str) -> float:
    return parsedate_to_datetime(text).timestamp()


def server_time(headers: Mapping[str, str], now: float) -> float:
    """
    Read the server's clock.

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
    Tell how long a reply asks to wait: ``Retry-After``, else ``X-RateLimit-Reset`` by the server's clock.

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
    One request's way past a pacer, from the first question to its end.

    :param due: When it wants to go at the earliest, in epoch seconds (default: at once).
    :param slot: When it may go; None while it has not been given a moment.
    :param news: Whether the last answer is a wait that is worth telling: nobody has been told of it yet.
    :param share: The share of each announced window that it and others like it may use; None (default) for the
        pacer's budget.
    """

    due: float = 0.0
    slot: float | None = None
    news: bool = False
    told: bool = False
    share: float | None = None


class _Window:
    """
    The window in which the server counts, as far as its replies tell.

    Its end is known by the server's clock, and a ``Date`` in whole seconds makes that look up to a second
    slower than it is. So the least difference between the clocks counts that was seen lately: it errs, by
    the time a reply travels, in believing that a window ends late, never early.
    """

    def __init__(self) -> None:
        self.limit = 0.0
        self.length = _USUAL_WINDOW
        self._left = 0.0
        self._reset = -math.inf
        # Of this window and of the one before: a clock that was set is not believed for long.
        self._ahead = self._ahead_before = math.inf

    def learn(self, limit: float, left: float, reset: float, clock: float, now: float) -> None:
        """Take in what a reply says, and when its server's and this machine's clock said so."""
        self.limit = limit
        if reset > self._reset:
            # Windows may have been missed between the two, so that one is no longer than this.
            self.length = min(self.length, max(1.0, reset - self._reset))
            self._left, self._reset = left, reset
            self._ahead_before, self._ahead = self._ahead, now - clock
        else:
            self._ahead = min(self._ahead, now - clock)
            if reset == self._reset:
                self._left = min(self._left, left)
        # Within a second it is the Date that is late, not the window that is longer.
        if reset - clock > self.length + 1.0:
            self.length = reset - clock

    def local(self, moment: float) -> float:
        """Translate a moment of the server's clock into this machine's."""
        return moment + min(self._ahead, self._ahead_before)

    def at(self, moment: float) -> tuple[float, float]:
        """Tell what is left at a moment, and when its window ends; all is left of one that nobody told of."""
        end = self.local(self._reset)
        # An end that is further away was heard before the clock was set back.
        if 0 < end - moment <= self.length + 1.0:
            return self._left, end
        return self.limit, moment + self.length - (moment - end) % self.length


class Pacer:
    """
    Holds requests back when the announced limit is used up, and spaces them; safe to share between threads.

    A request has a :class:`Reservation`. Call :meth:`delay_for` until it returns 0, :meth:`observe` with the reply, if
    there is one, and :meth:`release` once the request is over, however it ended.

    :param budget: The share of each announced window that may be used, above 0 and up to 1: requests are
        spaced evenly, and give way to whoever else uses the limit. None (the default) spaces nothing, and
        only waits while the limit is used up.
    :raises ValueError: When the budget is no such share.
    """

    def __init__(self, budget: float | None = None) -> None:
        if budget is not None and not 0 < budget <= 1:
            raise ValueError("budget must be above 0 and at most 1")
        self._budget = budget
        self._lock = threading.Lock()
        self._closed_until = self._told_until = 0.0
        self._window: _Window | None = None
        self._unlimited = False
        # Goes alone while nothing is known: its reply tells the limit.
        self._probe: Reservation | None = None
        # Turns under way, which the server may not have counted in what was heard last.
        self._under_way = 0
        self._last_slot = 0.0

    @property
    def under_way(self) -> int:
        """How many requests have their moment, and are not over."""
        return self._under_way

    def delay_for(self, reservation: Reservation, now: float) -> float:
        """
        Tell how long a request has to wait before it goes, or asks again.

        :param reservation: The request's turn.
        :param now: This machine's clock, in epoch seconds.
        :return: Seconds, 0 when it may go at once.
        """
        with self._lock:
            # Whatever lies further ahead was believed before the clock was set back.
            self._closed_until = min(self._closed_until, now + MAX_DELAY_SECONDS + _MARGIN)
            closed, early = self._closed_until - now, reservation.due - now
            reservation.news = False
            if closed > 0:
                self._give_back(reservation)
                if now >= self._told_until:
                    reservation.news, self._told_until = True, self._closed_until
            elif early > 0:
                reservation.news = not reservation.told
            if closed > 0 or early > 0:
                reservation.told = True
                return max(min(closed, MAX_DELAY_SECONDS), early)
            if reservation.slot is None:
                reservation.slot, again = self._next_slot(reservation, now)
                if reservation.slot is None:
                    return again
                self._under_way += 1
            reservation.slot = min(reservation.slot, now + _AHEAD)
            return max(0.0, reservation.slot - now)

    def observe(self, status: int, headers: Mapping[str, str], now: float) -> None:
        """
        Learn from a reply.

        :param status: Its HTTP status.
        :param headers: Its headers.
        :param now: This machine's clock when it arrived, in epoch seconds.
        """
        left = _number(headers.get("x-ratelimit-remaining"))
        with self._lock:
            end = self._learn(status, headers, left, now)
            if status != _REFUSED and (left is None or left > 0):
                return
            wait = seconds_until_open(headers, now) or 0.0
            if end is not None and "retry-after" not in headers:
                # Many replies together know better than one, whose Date may be a second old.
                wait = end - now
            if wait <= 0 and status == _REFUSED:
                wait = _SHORT_HOLD
            if wait > 0:
                self._closed_until = max(self._closed_until, now + min(wait, MAX_DELAY_SECONDS) + _MARGIN)

    def release(self, reservation: Reservation) -> None:
        """
        Learn that a request is over, or will not be made.

        :param reservation: The request's turn.
        """
        with self._lock:
            self._give_back(reservation)

    def _give_back(self, reservation: Reservation) -> None:
        self._under_way -= reservation.slot is not None
        reservation.slot = None
        if self._probe is reservation:
            self._probe = None

    def _learn(self, status: int, headers: Mapping[str, str], left: float | None, now: float) -> float | None:
        """Take in a reply; when its window ends by this machine's clock, None where the reply makes no sense."""
        limit, reset = _number(headers.get("x-ratelimit-limit")), _number(headers.get("x-ratelimit-reset"))
        clock = server_time(headers, now)
        if limit is None or left is None or reset is None or limit < 1 or reset - clock > MAX_DELAY_SECONDS:
            # What a proxy answers in place of Intercom says nothing about Intercom's limit.
            if status < _SERVER_ERROR and status != _REFUSED:
                self._unlimited = True
            return None
        self._window = self._window or _Window()
        self._window.learn(limit, left, reset, clock, now)
        return self._window.local(reset)

    def _next_slot(self, reservation: Reservation, now: float) -> tuple[float | None, float]:
        """Give a moment to go; or none, and the seconds after which to ask again."""
        budget = self._budget if reservation.share is None else reservation.share
        if budget is None or (self._window is None and self._unlimited):
            return now, 0.0
        if self._window is None:
            if self._probe is not None:
                return None, _ASK_AGAIN
            self._probe, self._last_slot = reservation, now
            return now, 0.0
        # No slot is further ahead, unless the clock was set back.
        last = self._last_slot = min(self._last_slot, now + _AHEAD)
        moment = max(last, now)
        left, end = self._window.at(moment)
        free = left - self._under_way - _SPARE * self._window.limit
        if free <= 0:
            return None, _ASK_AGAIN
        own = _AIM * max(1, math.floor(budget * self._window.limit)) / self._window.length
        slot = max(last + 1 / min(own, free / (end - moment)), now - _CATCH_UP)
        if slot > now + _AHEAD:
            return None, min(slot - now - _AHEAD + _ASK_AGAIN, _AHEAD)
        self._last_slot = slot
        return slot, 0.0


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(number) else max(-_ABSURD, min(number, _ABSURD))
