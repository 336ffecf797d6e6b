"""Intercom's rate limit: a maximum of requests in each 10-second window of the wall clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from intercom_provider.sandbox.settings import SandboxSettings

WINDOW_SECONDS: Final = 10


class RateLimit:
    """Counts the requests of the current window.

    :param settings: the sandbox's settings; `rate_limit` is read at each request.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._window = 0
        self._count = 0

    def count(self, now: float) -> tuple[bool, dict[str, str]]:
        """Count a request against the limit.

        :param now: unix time.
        :return: whether the request is within the limit, and the headers for its reply; no headers without a limit.
        """
        limit = self._settings.rate_limit
        if not limit:
            return True, {}
        window = int(now // WINDOW_SECONDS)
        if window != self._window:
            self._window, self._count = window, 0
        allowed = self._count < limit
        self._count += allowed
        return allowed, {
            "x-ratelimit-limit": str(limit),
            "x-ratelimit-remaining": str(max(0, limit - self._count)),
            "x-ratelimit-reset": str((window + 1) * WINDOW_SECONDS),
        }
