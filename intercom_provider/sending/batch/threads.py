"""Threads that talk to Intercom side by side, each with a client of its own; none of them talks to Airflow."""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from intercom_provider.api.errors import ContactNotFoundError, IntercomError, StoppedError, UnconfirmedError
from intercom_provider.api.flow import NoReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercom_provider.api.client import IntercomClient
    from intercom_provider.api.flow import Flow, Request
    from intercom_provider.api.models import Receipt
    from intercom_provider.api.pacing import Pacer

log = logging.getLogger(__name__)

MAX_THREADS: Final = 100
"""How many requests are in flight at most when nobody says how many."""

MAX_CONSECUTIVE_UNANSWERED: Final = 50
"""How many messages in a row may end without an answer that says anything; then the lanes ask no more."""

_TOO_MANY: Final = 429
_BROKEN: Final = 500
_FIRST_LANES: Final = 4
# Often enough to have all lanes within seconds, and not before it shows how long a reply takes.
_GROWS_EVERY: Final = 0.05


@dataclass(slots=True)
class MessageInFlight:
    """
    One message on its way: a call that can be left between two requests and taken up again.

    :param index: The message's place in the input.
    :param digest: What names it in the ledger.
    :param key: The user's own id for it.
    :param flow: The call, which has yielded its request.
    :param request: The next request.
    :param receipt: What became of it, once it is known.
    :param error: Why there is no receipt.
    """

    index: int
    digest: str
    key: str | int | None
    flow: Flow[Receipt]
    request: Request
    receipt: Receipt | None = None
    error: Exception | None = None
    unanswered: bool = False
    """Whether its last request got no answer, or one that says nothing about the message."""

    @property
    def is_over(self) -> bool:
        """Whether it is known what became of the message."""
        return self.receipt is not None or self.error is not None

    @property
    def is_unanswered(self) -> bool:
        """Whether it is over, and no answer said anything about the message."""
        error = self.error
        if isinstance(error, StoppedError | ContactNotFoundError) or not isinstance(error, IntercomError):
            return False
        return error.transient or isinstance(error, UnconfirmedError)

    def step(self, client: IntercomClient) -> None:
        """
        Make the next request and take in its outcome.

        :param client: The client.
        """
        try:
            outcome = client.exchange(self.request)
            self.unanswered = isinstance(outcome, NoReply) or outcome.status == _TOO_MANY or outcome.status >= _BROKEN
            try:
                self.request = self.flow.send(outcome)
            except StopIteration as end:
                self.receipt = end.value
        except IntercomError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - a thread that dies would take its message along
            why = f"{type(error).__name__} in the sender"
            self.error = UnconfirmedError(why) if client.may_have_sent else error


class SenderThreads:
    """
    The lanes of one batch: courses go in, and come out one request further.

    :param connect: Makes a client for a lane.
    :param most: How many lanes there are at most; None for as many as it takes.
    :param pacer: The rate limit that all of them share.
    """

    def __init__(self, connect: Callable[[], IntercomClient], most: int | None, pacer: Pacer) -> None:
        self._connect = connect
        self._pacer = pacer
        self._most = MAX_THREADS if most is None else most
        self._threads: list[threading.Thread] = []
        self._ready: queue.SimpleQueue[MessageInFlight | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[MessageInFlight] = queue.SimpleQueue()
        self._grown_at = 0.0
        self.under_way = 0
        """How many courses are in a lane or wait for one."""

        self.last_unanswered: MessageInFlight | None = None
        """The course with which it became hopeless; None while it is not."""

        self._lost = 0
        self._counting = threading.Lock()
        if most is not None:
            self._grow(most)

    @property
    def size(self) -> int:
        """How many lanes there are."""
        return len(self._threads)

    def put(self, in_flight: MessageInFlight) -> None:
        """
        Let a course make its next request.

        :param in_flight: The course.
        """
        self.under_way += 1
        self._ready.put(in_flight)

    def take(self, timeout: float) -> MessageInFlight | None:
        """
        Wait for a course to come out of its lane.

        :param timeout: Seconds; 0 to take only what is there.
        :return: The course; None when none came.
        """
        self._grow_where_needed()
        try:
            in_flight = self._done.get(timeout=timeout) if timeout > 0 else self._done.get_nowait()
        except queue.Empty:
            return None
        self.under_way -= 1
        return in_flight

    def close(self, timeout: float) -> None:
        """
        End the lanes.

        :param timeout: Seconds to wait for them at most.
        """
        for _ in self._threads:
            self._ready.put(None)
        give_up = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, give_up - time.monotonic()))

    def _grow_where_needed(self) -> None:
        now = time.monotonic()
        if self.under_way <= self.size or self.size >= self._most or now - self._grown_at < _GROWS_EVERY:
            return
        # Where the rate limit holds lanes back, more of them would only wait as well.
        if self._pacer.in_flight < self.size:
            return
        self._grown_at = now
        self._grow(1 if self.size else min(_FIRST_LANES, self._most))

    def _grow(self, number: int) -> None:
        for _ in range(number):
            name = f"intercom-lane-{self.size}"
            try:
                # A lane that hangs in a request must not keep a task from ending.
                thread = threading.Thread(target=self._run, args=(self._connect(),), name=name, daemon=True)
                thread.start()
            except Exception as error:  # noqa: BLE001 - threads, files, certificates: whatever the machine lacks
                self._make_do(error)
                return
            self._threads.append(thread)

    def _make_do(self, error: Exception) -> None:
        """Get by with the lanes that there are; where there is none, nothing that waits for one is sent."""
        if self.size:
            log.warning("There will be no more than %d requests in flight: %s", self.size, type(error).__name__)
            self._most = self.size
            return
        with suppress(queue.Empty):
            while in_flight := self._ready.get_nowait():
                in_flight.error = error
                self._done.put(in_flight)

    def _run(self, client: IntercomClient) -> None:
        with client:
            while (in_flight := self._ready.get()) is not None:
                in_flight.step(client)
                if in_flight.is_over:
                    self._count(in_flight)
                self._done.put(in_flight)

    def _count(self, in_flight: MessageInFlight) -> None:
        # Here, where it is known first: whoever takes the courses may be busy, and the lanes would go on meanwhile.
        with self._counting:
            self._lost = self._lost + 1 if in_flight.is_unanswered else 0
            if self._lost >= MAX_CONSECUTIVE_UNANSWERED and self.last_unanswered is None:
                self.last_unanswered = in_flight
