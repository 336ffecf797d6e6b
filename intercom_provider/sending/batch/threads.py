"""Threads that make a batch's requests, each with a client of its own; none of them talks to Airflow."""

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
from intercom_provider.ledger.ledger import Intent

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercom_provider.api.client import IntercomClient
    from intercom_provider.api.flow import Request
    from intercom_provider.api.models import Receipt
    from intercom_provider.api.pacing import Pacer
    from intercom_provider.api.stepper import Stepper
    from intercom_provider.sending.batch.input import Item

log = logging.getLogger(__name__)

MAX_THREADS: Final = 100
"""How many requests are in flight at most, unless the user sets a number."""

MAX_CONSECUTIVE_UNANSWERED: Final = 50
"""After so many messages in a row that ended without an answer about themselves, no further request is made."""

_STATUS_NOT_FOUND: Final = 404
_STATUS_TOO_MANY_REQUESTS: Final = 429
_MIN_SERVER_ERROR_STATUS: Final = 500
_FIRST_THREADS: Final = 4
# Short enough to start all threads within seconds, long enough to see first how long a reply takes.
_GROWTH_INTERVAL_SECONDS: Final = 0.05


@dataclass(slots=True, eq=False)
class MessageInFlight:
    """
    A message that is being sent: a call that can be left between two requests and continued later.

    :param item: The message of the batch.
    :param call: The call, which has asked for its request.
    :param request: The next request.
    :param receipt: The receipt, once the call has ended with one.
    :param error: The error, once the call has ended with one.
    """

    item: Item
    call: Stepper[Request, Receipt]
    request: Request
    receipt: Receipt | None = None
    error: Exception | None = None
    last_request_unanswered: bool = False
    """Whether the last request got no answer, or one that says nothing about the message (429, 5xx)."""

    waits_for_contact: bool = False
    """Whether the last answer was that the contact is not there."""

    @property
    def intent(self) -> Intent:
        """The record that the ledger makes before the message is sent."""
        assert self.item.message is not None  # noqa: S101 - a message that cannot be built is not sent
        return Intent(self.item.key, self.item.message.wire_type)

    @property
    def is_over(self) -> bool:
        """Whether the call has ended."""
        return self.receipt is not None or self.error is not None

    @property
    def is_unanswered(self) -> bool:
        """Whether the call has ended, and no answer said anything about the message."""
        error = self.error
        if isinstance(error, StoppedError | ContactNotFoundError) or not isinstance(error, IntercomError):
            return False
        return error.transient or isinstance(error, UnconfirmedError)

    def step(self, client: IntercomClient) -> None:
        """
        Make the next request, and continue the call with its answer.

        :param client: The client.
        """
        try:
            answer = client.exchange(self.request)
            self.waits_for_contact = not isinstance(answer, NoReply) and answer.status == _STATUS_NOT_FOUND
            self.last_request_unanswered = (
                isinstance(answer, NoReply)
                or answer.status == _STATUS_TOO_MANY_REQUESTS
                or answer.status >= _MIN_SERVER_ERROR_STATUS
            )
            self.call.answer(answer)
            if self.call.asked is None:
                self.receipt = self.call.result
            else:
                self.request = self.call.asked
        except IntercomError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - a thread that dies would lose its message
            why = f"{type(error).__name__} in the sender"
            self.error = UnconfirmedError(why) if client.may_have_sent else error


class SenderThreads:
    """
    The threads of one batch: each takes a message, makes one request for it, and puts it back.

    :param connect: Makes a client for a thread.
    :param max_threads: How many threads there are at most; None for as many as it takes.
    :param pacer: The rate limit that all of them share.
    """

    def __init__(self, connect: Callable[[], IntercomClient], max_threads: int | None, pacer: Pacer) -> None:
        self._connect = connect
        self._pacer = pacer
        self._max_threads = MAX_THREADS if max_threads is None else max_threads
        self._threads: list[threading.Thread] = []
        self._ready: queue.SimpleQueue[MessageInFlight | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[MessageInFlight] = queue.SimpleQueue()
        self._grown_at = 0.0
        self.under_way: set[MessageInFlight] = set()
        """The messages that are in a thread or wait for one."""

        self.last_unanswered: MessageInFlight | None = None
        """The message that made ``MAX_CONSECUTIVE_UNANSWERED`` full; None before."""

        self._consecutive_unanswered = 0
        self._counting = threading.Lock()
        if max_threads is not None:
            self._grow(max_threads)

    @property
    def waiting(self) -> int:
        """How many messages wait for a thread."""
        return max(0, len(self.under_way) - len(self._threads))

    def put(self, in_flight: MessageInFlight) -> None:
        """
        Let a message make its next request.

        :param in_flight: The message.
        """
        self.under_way.add(in_flight)
        self._ready.put(in_flight)

    def take(self, timeout: float) -> MessageInFlight | None:
        """
        Wait for a message whose request was made.

        :param timeout: Seconds; 0 to take only what is there.
        :return: The message; None when there is none within that time.
        """
        self._grow_where_needed()
        try:
            in_flight = self._done.get(timeout=timeout) if timeout > 0 else self._done.get_nowait()
        except queue.Empty:
            return None
        self.under_way.discard(in_flight)
        return in_flight

    def close(self, timeout: float) -> None:
        """
        End the threads.

        :param timeout: Seconds to wait for them at most.
        """
        for _ in self._threads:
            self._ready.put(None)
        give_up = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, give_up - time.monotonic()))

    def _grow_where_needed(self) -> None:
        now, size = time.monotonic(), len(self._threads)
        if not self.waiting or size >= self._max_threads or now - self._grown_at < _GROWTH_INTERVAL_SECONDS:
            return
        # While the rate limit holds threads back, another one would only wait as well.
        if self._pacer.in_flight < size:
            return
        self._grown_at = now
        self._grow(1 if size else min(_FIRST_THREADS, self._max_threads))

    def _grow(self, number: int) -> None:
        for _ in range(number):
            name = f"intercom-sender-{len(self._threads)}"
            try:
                # A daemon, because a thread that hangs in a request must not keep a task from ending.
                thread = threading.Thread(target=self._run, args=(self._connect(),), name=name, daemon=True)
                thread.start()
            except Exception as error:  # noqa: BLE001 - threads, files, certificates: whatever the machine lacks
                self._stop_growing(error)
                return
            self._threads.append(thread)

    def _stop_growing(self, error: Exception) -> None:
        """Go on with the threads that there are; without any, end all waiting messages with the error."""
        if self._threads:
            size = len(self._threads)
            log.warning("There will be no more than %d requests in flight: %s", size, type(error).__name__)
            self._max_threads = size
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
                    self._count_unanswered(in_flight)
                self._done.put(in_flight)

    def _count_unanswered(self, in_flight: MessageInFlight) -> None:
        # Counted in the thread, because the main thread may be busy with a write while the threads go on.
        with self._counting:
            self._consecutive_unanswered = self._consecutive_unanswered + 1 if in_flight.is_unanswered else 0
            if self._consecutive_unanswered >= MAX_CONSECUTIVE_UNANSWERED and self.last_unanswered is None:
                self.last_unanswered = in_flight
