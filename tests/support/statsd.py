"""A StatsD server on loopback, which keeps what it gets."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_LINE = re.compile(r"(?P<name>[^:]+):(?P<value>[0-9.]+)\|(?P<kind>c|ms)")
_MAX_WAIT_SECONDS = 30.0


class StatsdServer:
    """A StatsD server; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port: int = self._socket.getsockname()[1]
        self.datagrams = 0
        self._totals: dict[str, float] = defaultdict(float)
        self._closed = False
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._thread.join()
        self._socket.close()

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which Airflow sends its metrics here."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self.port),
        }

    def totals(self, prefix: str = "airflow.intercom.") -> dict[str, float]:
        """Return the sum of each counter and timing whose name begins so, without that beginning."""
        return {
            name.removeprefix(prefix): total for name, total in dict(self._totals).items() if name.startswith(prefix)
        }

    def wait_for(self, condition: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        """Wait until the totals are as wanted, because datagrams take their time; return them."""
        give_up = time.monotonic() + _MAX_WAIT_SECONDS
        while not condition(self.totals()) and time.monotonic() < give_up:
            time.sleep(0.02)
        return self.totals()

    def _read(self) -> None:
        while not self._closed:
            try:
                data = self._socket.recv(65_536)
            except TimeoutError:
                continue
            self.datagrams += 1
            for line in data.decode().splitlines():
                if found := _LINE.match(line):
                    self._totals[found["name"]] += float(found["value"])
