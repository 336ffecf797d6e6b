"""Intercom's rate limit: so many requests in each 10 seconds of the wall clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from intercom_provider.sandbox.settings import Settings

WINDOW: Final = 10


class RateLimit:
    """Counts the requests of the running window.

    :param settings: the sandbox's settings; `rate_limit` is read at each request.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._window = 0
        self._taken = 0

    def take(self, now: float) -> tuple[bool, dict[str, str]]:
        """Count a request.

        :param now: unix time.
        :return: whether the request may pass, and the headers of its reply; none without a limit.
        """
        limit = self._settings.rate_limit
        if not limit:
            return True, {}
        window = int(now // WINDOW)
        if window != self._window:
            self._window, self._taken = window, 0
        passes = self._taken < limit
        self._taken += passes
        return passes, {
            "x-ratelimit-limit": str(limit),
            "x-ratelimit-remaining": str(max(0, limit - self._taken)),
            "x-ratelimit-reset": str((window + 1) * WINDOW),
        }
