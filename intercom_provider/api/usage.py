"""Count what the clients of a task ask of Intercom: requests by status, and the time that the rate limit held them."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

NO_REPLY: Final = "none"
"""Stands in for the status of a request that got no reply."""


class Usage:
    """Counts requests, from any thread, until the counts are taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: Counter[str] = Counter()
        self._waited_seconds = 0.0

    def add(self, status: int | None, waited_seconds: float) -> None:
        """
        Count a request.

        :param status: The HTTP status of its reply; None when there is none.
        :param waited_seconds: How long the rate limit held it.
        """
        with self._lock:
            self._statuses[NO_REPLY if status is None else str(status)] += 1
            self._waited_seconds += max(0.0, waited_seconds)

    def take(self) -> tuple[Counter[str], float]:
        """
        Return the counts since they were last taken.

        :return: How many requests there were by status, and for how many seconds the rate limit held them in all.
        """
        with self._lock:
            taken = self._statuses, self._waited_seconds
            self._statuses, self._waited_seconds = Counter(), 0.0
            return taken
