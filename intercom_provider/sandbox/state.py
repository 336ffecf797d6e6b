"""All that one running sandbox holds, shared by its API, its inspection and its owner."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Any

from intercom_provider.sandbox.exports import Exports
from intercom_provider.sandbox.rate_limit import RateLimit
from intercom_provider.sandbox.request_log import RequestLog
from intercom_provider.sandbox.workspace import ADMINS, Workspace

if TYPE_CHECKING:
    from intercom_provider.sandbox.settings import Settings


class State:
    """One sandbox's memory.

    :param settings: the sandbox's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # The server lives in a thread of its own when a test owns the sandbox: whoever looks or
        # writes takes this lock.
        self.lock = RLock()
        self.stopping = False
        self.reset()

    def reset(self) -> None:
        """Forget everything that happened, rulesets included; the settings stay."""
        with self.lock:
            self.workspace = Workspace(self.settings)
            self.exports = Exports(self.workspace)
            self.log = RequestLog()
            self.rate_limit = RateLimit(self.settings)

    def connection(self, url: str) -> dict[str, Any]:
        """Describe the Airflow connection that leads here.

        :param url: where the sandbox listens.
        :return: conn_type, host, password and extra, as `AIRFLOW_CONN_...` takes them in JSON.
        """
        return {
            "conn_type": "intercom",
            "host": url,
            "password": self.settings.token,
            "extra": {"region": self.settings.region, "admin_id": next(iter(ADMINS))},
        }
