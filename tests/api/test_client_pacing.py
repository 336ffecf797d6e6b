"""Threads with clients that share one pacer, on real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.client import AsyncIntercomClient, IntercomClient
from intercom_provider.api.errors import StoppedError
from intercom_provider.api.flow import Answer, NoReply, Reply, Request, RetryLimits
from intercom_provider.api.pacing import Pacer
from tests.support.drivers import send, settings_for, status
from tests.support.hostile import Act, Exchange, Hostile, drop, http_date, late, rate_limited

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercom_provider.api.settings import Settings

ASK = Request("GET", "/messages/whatsapp/status", params={"message_id": "wamid.1"})


class Windows:
    """Counts a server's requests in windows of a second, and announces the count in its replies."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.counts: dict[int, int] = {}
        self._lock = threading.Lock()

    def whole(self) -> list[int]:
        """Count the requests of the whole windows of four seconds, without the one that taught the length."""
        first = min(self.counts)
        return [self.counts.get(first + later, 0) for later in (2, 3)]

    @property
    def act(self) -> Act:
        return Act(self._answer)

    def _answer(self, exchange: Exchange) -> None:
        window = int(time.time())
        with self._lock:
            count = self.counts[window] = self.counts.get(window, 0) + 1
        exchange.sleep(0.05)
        headers = {
            "Date": http_date(time.time()),
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - count)),
            "X-RateLimit-Reset": str(window + 1),
        }
        body = json.dumps(exchange.create()).encode()
        exchange.reply(200 if count <= self.limit else 429, body, headers)


def in_threads(
    settings: Settings, pacer: Pacer, work: Callable[[IntercomClient], None], *, threads: int = 8, seconds: float = 30
) -> None:
    """Work in threads, each with a client of its own, until each has finished or the time is over."""
    until = time.monotonic() + seconds

    def work_in_thread(_: int) -> None:
        with IntercomClient(settings, pacer=pacer, stopped=lambda: time.monotonic() > until) as client:
            try:
                work(client)
            except StoppedError:
                return

    with ThreadPoolExecutor(max_workers=threads) as pool:
        list(pool.map(work_in_thread, range(threads)))


def _for_ever(client: IntercomClient) -> None:
    while True:
        client.exchange(ASK)


def _twice(client: IntercomClient) -> None:
    client.exchange(ASK)
    client.exchange(ASK)


def test_threads_keep_within_their_budget_together() -> None:
    windows = Windows(limit=60)
    with Hostile() as server:
        server.always(windows.act)
        in_threads(settings_for(server.url), Pacer(0.5), _for_ever, seconds=6.2)
    counts = windows.whole()
    # A busy machine may hold up all threads for a moment, and then let them go at once.
    assert max(counts) <= 30 + 10
    assert sum(counts) >= 0.6 * 30 * len(counts)


def test_threads_that_share_a_limit_with_others_rarely_exceed_it() -> None:
    windows = Windows(limit=60)
    with Hostile() as server, ThreadPoolExecutor(max_workers=2) as pool:
        server.always(windows.act)
        settings = settings_for(server.url)
        list(pool.map(lambda _: in_threads(settings, Pacer(0.9), _for_ever, seconds=6.2), range(2)))
    counts = windows.whole()
    assert sum(max(0, count - 60) for count in counts) <= 0.15 * sum(counts)
    assert sum(min(60, count) for count in counts) >= 0.6 * 60 * len(counts)


def test_a_429_holds_every_thread(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="intercom_provider")
    with Hostile() as server:
        server.script(*[Windows(1000).act] * 30, rate_limited(retry_after="6"))
        server.always(Windows(1000).act)
        in_threads(settings_for(server.url), Pacer(), _for_ever, threads=20, seconds=1.5)
        times = [request.time for request in server.requests]
    # Requests that were in flight when the window closed come through, and none afterwards.
    assert 30 < len(times) <= 31 + 40
    assert times[-1] - times[0] < 1
    assert [record.message for record in caplog.records if "waits" in record.message] == [
        "GET /messages/whatsapp/status waits 6.1 s: the rate limit is used up"
    ]


def test_threads_that_are_held_stop_when_the_task_is_stopped() -> None:
    with Hostile() as server:
        server.script(rate_limited(retry_after="30"))
        started = time.monotonic()
        in_threads(settings_for(server.url), Pacer(0.8), _for_ever, seconds=0.6)
        assert time.monotonic() - started < 1.5
        assert len(server.requests) == 1


def test_the_first_request_goes_alone_and_the_next_one_when_it_learned_nothing() -> None:
    with Hostile() as server:
        server.script(drop(), late(0.3))
        server.always(Windows(1000).act)
        in_threads(settings_for(server.url), Pacer(0.8), _twice)
        times = [request.time for request in server.requests]
    assert len(times) == 16
    assert times[2] - times[1] >= 0.3


def test_an_interrupted_request_releases_its_reservation() -> None:
    class TaskTimeout(BaseException):
        pass

    def interrupt() -> bool:
        raise TaskTimeout

    pacer = Pacer(0.8)
    with Hostile() as server:
        settings = settings_for(server.url)
        server.always(Windows(1000).act)
        with IntercomClient(settings, pacer=pacer, stopped=interrupt) as client, pytest.raises(TaskTimeout):
            client.exchange(ASK)
        with IntercomClient(settings, pacer=pacer) as client:
            assert isinstance(client.exchange(ASK), Reply)

        async def cancelled() -> None:
            async with AsyncIntercomClient(settings, pacer=Pacer(0.8)) as client:
                server.script(late(5))
                task = asyncio.create_task(client.exchange(ASK))
                await asyncio.sleep(0.1)
                task.cancel()
                await asyncio.wait([task])
                async with asyncio.timeout(1):
                    assert isinstance(await client.exchange(ASK), Reply)

        asyncio.run(cancelled())


def test_a_deadline_that_passes_before_its_turn_is_too_late_in_both_drivers() -> None:
    pacer = Pacer(0.8)
    pacer.observe(429, {"retry-after": "5"}, time.monotonic(), time.time())

    async def ask(settings: Settings, request: Request) -> Answer:
        async with AsyncIntercomClient(settings, pacer=pacer) as client:
            return await client.exchange(request)

    request = Request("GET", "/me", deadline=time.time() + 2)
    with Hostile() as server:
        settings = settings_for(server.url)
        with IntercomClient(settings, pacer=pacer) as client:
            outcomes = [client.exchange(request), asyncio.run(ask(settings, request))]
        assert [isinstance(outcome, NoReply) and (outcome.late, outcome.sent) for outcome in outcomes] == [
            (True, False),
            (True, False),
        ]
        assert server.requests == []


def test_a_flow_can_be_stepped_through_from_outside() -> None:
    def step(exchange: Callable[[Request], Answer], flow: Any) -> Any:
        outcome = exchange(next(flow))
        while True:
            try:
                request = flow.send(outcome)
            except StopIteration as end:
                return end.value
            outcome = exchange(request)

    with Hostile() as server:
        server.script(rate_limited())
        settings = settings_for(server.url)
        with IntercomClient(settings) as client:
            sent = step(client.exchange, send(settings, RetryLimits()))
        assert (sent.outcome, len(server.created)) == ("sent", 1)

        async def steps() -> Any:
            flow = status(settings, RetryLimits())
            async with AsyncIntercomClient(settings) as client:
                outcome = await client.exchange(next(flow))
                with pytest.raises(StopIteration) as end:
                    flow.send(outcome)
                return end.value.value

        assert asyncio.run(steps()).status == "delivered"


def test_threads_may_send_as_well_as_ask() -> None:
    with Hostile() as server:
        server.always(Windows(1000).act)
        settings = settings_for(server.url)

        def work(client: IntercomClient) -> None:
            for _ in range(5):
                assert client.run(send(settings, RetryLimits())).outcome == "sent"

        in_threads(settings, Pacer(1.0), work)
        assert len(server.created) == 40
