"""The state of one running sandbox, shared by its API, its control endpoints and its owner."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Any

from intercom_provider.sandbox.admins import ADMINS
from intercom_provider.sandbox.exports import Exports
from intercom_provider.sandbox.faults import Faults
from intercom_provider.sandbox.rate_limit import RateLimit
from intercom_provider.sandbox.request_log import RequestLog
from intercom_provider.sandbox.workspace import Workspace

if TYPE_CHECKING:
    from intercom_provider.sandbox.settings import SandboxSettings


class State:
    """One sandbox's memory.

    :param settings: the sandbox's settings.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        # The server runs in a thread of its own while a test reads and writes from another: both take this lock.
        self.lock = RLock()
        self.stopping = False
        self.reset()

    def reset(self) -> None:
        """Remove all messages, contacts, rulesets, exports, requests and ordered faults. The settings stay."""
        with self.lock:
            self.workspace = Workspace(self.settings)
            self.exports = Exports(self.workspace)
            self.faults = Faults()
            self.log = RequestLog()
            self.rate_limit = RateLimit(self.settings)

    def connection(self, url: str) -> dict[str, Any]:
        """Return the Airflow connection to this sandbox.

        :param url: where the sandbox listens.
        :return: conn_type, host, password and extra, in the form that `AIRFLOW_CONN_...` takes as JSON.
        """
        return {
            "conn_type": "intercom",
            "host": url,
            "password": self.settings.token,
            "extra": {"region": self.settings.region, "admin_id": next(iter(ADMINS))},
        }
