"""A log of the API requests that a sandbox received, with the status of each reply."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# All requests are counted, but only the latest are kept, because a load test makes millions.
MAX_KEPT_REQUESTS: Final = 20_000


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One API request.

    :param time: unix time at which it arrived.
    :param method: the HTTP method.
    :param path: the path, decoded, without the query.
    :param params: the query, decoded.
    :param headers: the headers; their names in any case.
    :param json: the body; None when there is none or it is not JSON.
    :param status: the HTTP status of the reply.
    """

    time: float
    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    json: Any
    status: int


class RequestLog:
    """The API requests of one sandbox, without those under `/_sandbox`."""

    def __init__(self) -> None:
        self.recent: deque[RequestRecord] = deque(maxlen=MAX_KEPT_REQUESTS)
        self.counts: Counter[str] = Counter()
        self.busiest_second = 0
        self._second = 0
        self._count_in_second = 0

    def add(self, record: RequestRecord, endpoint: str) -> None:
        """Count a request and keep it among the latest.

        :param record: the request.
        :param endpoint: the name it is counted under, such as `POST /messages`.
        """
        self.recent.append(record)
        self.counts[f"{endpoint} {record.status}"] += 1
        second = int(record.time)
        self._count_in_second = self._count_in_second + 1 if second == self._second else 1
        self._second = second
        self.busiest_second = max(self.busiest_second, self._count_in_second)
