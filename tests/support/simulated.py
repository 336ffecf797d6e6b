"""Sending threads, pacers and a server that counts, in simulated time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Final, TypeAlias

from intercom_provider.api.pacing import Pacer, Reservation, seconds_until_open

START: Final = 1_714_564_800.0
_STOP_CHECK_SECONDS: Final = 0.25

Steps: TypeAlias = Generator[float, None, None]


@dataclass(slots=True)
class Server:
    """
    Counts requests in windows, as Intercom does.

    :param limit: Requests in a window.
    :param window: Seconds of a window.
    :param starts: When its windows start, in seconds after any whole number of them.
    """

    limit: int = 1667
    window: int = 10
    starts: int = 0
    taken: Counter[int] = field(default_factory=Counter)
    """Requests that passed, by window."""

    by_owner: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Requests that came, by whose they are and by window."""

    refused_by_owner: Counter[str] = field(default_factory=Counter)
    """Requests that were answered with 429."""

    @property
    def refused(self) -> float:
        """The share of all requests that were answered with 429."""
        return self.refused_by_owner.total() / self.by_owner.total()

    def number(self, now: float) -> int:
        return int((now - self.starts) // self.window)

    def take(self, owner: str, now: float) -> tuple[int, dict[str, str]]:
        """Count a request; return its status and the headers that do not depend on when the reply leaves."""
        number = self.number(now)
        self.by_owner[owner, number] += 1
        passes = self.taken[number] < self.limit
        self.taken[number] += passes
        self.refused_by_owner[owner] += not passes
        headers = {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(self.limit - self.taken[number]),
            "x-ratelimit-reset": str((number + 1) * self.window + self.starts),
        }
        return (200 if passes else 429), headers


@dataclass
class Simulation:
    """
    Runs simulated threads for a time.

    :param server: The server that they talk to.
    :param seconds: How long the simulation lasts.
    :param seed: The seed of its random numbers.
    """

    server: Server
    seconds: float
    seed: int = 0
    now: float = START
    asked: int = 0
    """How many times a pacer was asked."""

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, Steps]] = []

    def add(self, steps: Steps, at: float = START) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), steps))

    def add_threads(
        self, owner: str, pacer: Pacer, threads: int, *, latency: float = 0.3, clock: Callable[[float], float] = float
    ) -> None:
        """
        Add threads that send as fast as their pacer allows.

        :param owner: The program that they belong to.
        :param pacer: The pacer that they share.
        :param threads: How many threads.
        :param latency: Seconds from a request to its reply on average.
        :param clock: This machine's clock as a function of the server's.
        """
        for _ in range(threads):
            self.add(self._thread(owner, pacer, latency, clock), START + self._chance.random() * 0.05)

    def run(self) -> None:
        while self._events and self._events[0][0] < START + self.seconds:
            self.now, _, steps = heapq.heappop(self._events)
            for pause in itertools.islice(steps, 1):
                self.add(steps, self.now + pause)

    def _thread(self, owner: str, pacer: Pacer, latency: float, clock: Callable[[float], float]) -> Steps:
        due = 0.0
        while True:
            reservation = Reservation(due)
            while hold := self._ask(pacer, reservation, clock(self.now)):
                # Threads wake up a little late.
                yield min(hold, _STOP_CHECK_SECONDS) + self._chance.expovariate(1 / 0.002)
            yield self._travel(latency)
            status, headers = self.server.take(owner, self.now)
            yield self._travel(latency)
            headers["date"] = formatdate(self.now, usegmt=True)
            yield self._travel(latency)
            now = clock(self.now)
            pacer.observe(status, headers, now)
            pacer.release(reservation)
            due = now + max(seconds_until_open(headers, now) or 0.0, 0.5) if status == 429 else 0.0

    def _ask(self, pacer: Pacer, reservation: Reservation, now: float) -> float:
        self.asked += 1
        return pacer.delay_for(reservation, now)

    def _travel(self, latency: float) -> float:
        return latency / 3 * self._chance.uniform(0.8, 1.2)

    def whole_windows(self) -> Sequence[int]:
        """Return the windows that began and ended within the simulation, without the first one."""
        server = self.server
        return range(server.number(START) + 2, server.number(START + self.seconds))
