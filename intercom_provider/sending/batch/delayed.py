"""The messages of a batch that wait for their next request: they hold no thread, and certainly were not sent."""

from __future__ import annotations

import heapq
import time
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.sending.batch.threads import MessageInFlight


class DelayedMessages:
    """Messages by the moment at which each may be tried again."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, MessageInFlight]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[MessageInFlight]:
        return (in_flight for *_, in_flight in self._heap)

    @property
    def seconds_until_due(self) -> float:
        """How long until the first is due, below 0 when it is; only while there is one."""
        return self._heap[0][0] - time.monotonic()

    @property
    def has_due(self) -> bool:
        """Whether one is due."""
        return bool(self._heap) and self.seconds_until_due <= 0

    def add(self, in_flight: MessageInFlight) -> None:
        """
        Let a message wait for as long as its next request says.

        :param in_flight: The message.
        """
        request = in_flight.request
        due = request.after
        if request.deadline is not None:
            # A client would not wait past the deadline either.
            due = min(due, request.deadline - time.time())
        heapq.heappush(self._heap, (time.monotonic() + due, in_flight.item.index, in_flight))
        in_flight.request = replace(request, after=0.0)

    def pop(self) -> MessageInFlight:
        """
        Take the message that is due first.

        :return: The message.
        """
        return heapq.heappop(self._heap)[2]
