"""The rate limit as Intercom announces it, without I/O: how long to hold a request, and when to ask again."""

from __future__ import annotations

import threading
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_HOLD: Final = 60.0
"""Seconds that one wait for the limit lasts at most: windows are 10 s long, more would be a mistake."""

# A window that opens on the second still answers 429 when a request arrives a moment early.
_MARGIN: Final = 0.1


def server_time(headers: Mapping[str, str], now: float) -> float:
    """
    Read the server's clock.

    :param headers: A reply's headers.
    :param now: This machine's clock, in epoch seconds, used when the reply has no readable ``Date``.
    :return: Epoch seconds.
    """
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
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
        return max(0.0, parsedate_to_datetime(after).timestamp() - clock)
    except (ValueError, OverflowError):
        reset = _number(headers.get("x-ratelimit-reset"))
        return None if reset is None else max(0.0, reset - clock)


class Pacer:
    """Holds requests back when the announced limit is used up; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed_until = 0.0

    def reserve(self, now: float) -> float:
        """
        Tell how long the next request has to be held.

        :param now: This machine's clock, in epoch seconds.
        :return: Seconds, 0 when it may go at once.
        """
        with self._lock:
            return min(max(0.0, self._closed_until - now), LONGEST_HOLD)

    def heard(self, headers: Mapping[str, str], now: float) -> None:
        """
        Learn from a reply.

        :param headers: The reply's headers.
        :param now: This machine's clock when it arrived, in epoch seconds.
        """
        remaining = _number(headers.get("x-ratelimit-remaining"))
        if remaining is None or remaining > 0:
            return
        wait = seconds_until_open(headers, now)
        if wait:
            with self._lock:
                self._closed_until = max(self._closed_until, now + min(wait, LONGEST_HOLD) + _MARGIN)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
