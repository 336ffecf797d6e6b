"""Calls side by side: how many at once, in what order results are taken, and how they end, in every driver."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from intercom_provider.api import calls
from intercom_provider.api.client import AsyncIntercomClient, IntercomClient
from intercom_provider.api.errors import IntercomError, ServerError, StoppedError, UnauthorizedError
from intercom_provider.api.flow import RetryLimits
from intercom_provider.api.parallel import MAX_IN_FLIGHT, MAX_UNTAKEN_RESULTS, Parallel
from intercom_provider.triggers.shared_client import shared_client
from tests.support.drivers import settings_for
from tests.support.hostile import Act, Exchange, Hostile, error, healthy, rate_limited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from intercom_provider.api.parallel import ParallelFlow
    from intercom_provider.api.settings import Settings


class InFlight:
    """
    Answers after a while, and counts the requests that it has at the same time.

    :param seconds: Seconds until a reply, by the message's number.
    """

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.most = 0
        self.answered: list[int] = []
        self._seconds = seconds
        self._now = 0
        self._lock = threading.Lock()

    def act(self, then: Callable[[int], Act] = lambda _: healthy()) -> Act:
        def run(exchange: Exchange) -> None:
            number = number_of(exchange.request)
            with self._lock:
                self._now += 1
                self.most = max(self.most, self._now)
            try:
                exchange.sleep(self._seconds(number))
            finally:
                with self._lock:
                    self._now -= 1
                    self.answered.append(number)
            then(number).run(exchange)

        return Act(run)


def number_of(request: Any) -> int:
    return int(request.query["message_id"].removeprefix("wamid."))


def statuses(number: int, limits: RetryLimits | None = None, first: int = 0) -> ParallelFlow[list[int]]:
    """Get the statuses of so many messages; return their numbers in the order in which results were taken."""
    taken: list[int] = []
    asked = (
        calls.whatsapp_status(f"wamid.{each}", limits or RetryLimits(attempts=1))
        for each in range(first, first + number)
    )
    yield Parallel(asked, lambda found: taken.append(int(str(found.whatsapp_message_id).removeprefix("wamid."))))
    return taken


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - it becomes true in another thread
        await asyncio.sleep(0.01)


def run_sync(settings: Settings, flow: ParallelFlow[Any]) -> Any:
    with IntercomClient(settings) as client:
        return client.run(flow)


def run_async(settings: Settings, flow: ParallelFlow[Any]) -> Any:
    async def run() -> Any:
        async with AsyncIntercomClient(settings) as client:
            found = await client.run(flow)
            assert len(asyncio.all_tasks()) == 1
            return found

    return asyncio.run(run())


async def shared(settings: Settings, flow: ParallelFlow[Any]) -> Any:
    async with shared_client(settings) as client:
        return await client.run(flow)


def run_shared(settings: Settings, flow: ParallelFlow[Any]) -> Any:
    return asyncio.run(shared(settings, flow))


DRIVERS: Final = {"sync": run_sync, "async": run_async, "shared": run_shared}


@pytest.fixture(params=DRIVERS)
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Settings, ParallelFlow[Any]], Any]]:
    yield DRIVERS[request.param]
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("intercom-asks")]
    assert left == []


@pytest.fixture
def server() -> Iterator[Hostile]:
    with Hostile(elsewhere=False) as server:
        yield server


@pytest.fixture
def settings(server: Hostile) -> Settings:
    return settings_for(server.url, timeout=10.0)


def test_the_requests_in_flight_reach_the_maximum_and_not_more(server: Hostile, settings: Settings, run: Any) -> None:
    in_flight = InFlight(lambda _: 0.1)
    server.always(in_flight.act())
    assert run(settings, statuses(100)) == list(range(100))
    assert MAX_IN_FLIGHT / 2 < in_flight.most <= MAX_IN_FLIGHT
    assert max(request.connection for request in server.requests) <= MAX_IN_FLIGHT


def test_results_are_taken_in_the_order_of_the_calls(server: Hostile, settings: Settings, run: Any) -> None:
    in_flight = InFlight(lambda number: 0.03 * (7 - number % 7))
    server.always(in_flight.act())
    assert run(settings, statuses(60)) == list(range(60))
    assert in_flight.answered != sorted(in_flight.answered)


def test_a_slow_call_holds_up_only_calls_far_behind_it(server: Hostile, settings: Settings, run: Any) -> None:
    in_flight = InFlight(lambda number: 1.5 if number == 1 else 0.0)
    server.always(in_flight.act())
    assert run(settings, statuses(MAX_UNTAKEN_RESULTS + 60)) == list(range(MAX_UNTAKEN_RESULTS + 60))
    before = in_flight.answered.index(1)
    assert MAX_IN_FLIGHT < before <= MAX_UNTAKEN_RESULTS


def test_no_calls_and_one_call_work_as_well(server: Hostile, settings: Settings, run: Any) -> None:
    assert run(settings, statuses(0)) == []
    assert run(settings, statuses(1)) == [0]
    assert len(server.requests) == 1


def test_each_call_is_repeated_on_its_own(server: Hostile, settings: Settings, run: Any) -> None:
    tried: list[int] = []

    def sometimes(number: int) -> Act:
        tried.append(number)
        return error(500, "server_error") if number % 10 == 3 and tried.count(number) == 1 else healthy()

    server.always(InFlight(lambda _: 0.0).act(sometimes))
    assert run(settings, statuses(30, RetryLimits(attempts=3))) == list(range(30))
    assert len(server.requests) == 33


def test_all_calls_wait_for_a_limit_that_is_used_up(server: Hostile, settings: Settings, run: Any) -> None:
    opens: list[float] = []
    refused: list[int] = []

    def limited(number: int) -> Act:
        if number == 40 and not opens:
            opens.append(time.time() + 1.0)
        if opens and time.time() < opens[0]:
            refused.append(number)
            return rate_limited(retry_after="1")
        return healthy()

    server.always(InFlight(lambda _: 0.02).act(limited))
    assert run(settings, statuses(120, RetryLimits(attempts=4))) == list(range(120))
    # Requests that were in flight, and none after them.
    assert 1 <= len(refused) <= MAX_IN_FLIGHT


def test_an_error_of_one_call_ends_all_of_them(server: Hostile, settings: Settings, run: Any) -> None:
    def refused(number: int) -> Act:
        return error(401, "token_revoked") if number == 30 else healthy()

    server.always(InFlight(lambda number: 5.0 if number > 30 else 0.05).act(refused))
    began = time.monotonic()
    with pytest.raises(UnauthorizedError):
        run(settings, statuses(500))
    assert time.monotonic() - began < 4.9
    made = len(server.requests)
    assert made < 30 + 2 * MAX_IN_FLIGHT
    time.sleep(0.2)
    assert len(server.requests) == made


def test_a_flow_may_catch_the_error_of_a_call(server: Hostile, settings: Settings, run: Any) -> None:
    server.always(error(500, "server_error"), path="/messages/whatsapp/status")

    def careful() -> ParallelFlow[str]:
        try:
            yield from statuses(5)
        except ServerError:
            return (yield from calls.me()).id
        return ""

    assert run(settings, careful()) == "814860"


def test_a_stopped_client_does_not_wait_for_replies(server: Hostile, settings: Settings) -> None:
    server.always(InFlight(lambda number: 5.0 if number else 0.0).act())
    stopped_event = threading.Event()
    threading.Timer(0.5, stopped_event.set).start()
    began = time.monotonic()
    with IntercomClient(settings, stopped=stopped_event.is_set) as client, pytest.raises(StoppedError):
        client.run(statuses(100))
    assert time.monotonic() - began < 4.9
    assert len(server.requests) <= MAX_IN_FLIGHT + 1


def test_a_time_out_of_the_task_aborts_the_requests_in_flight(server: Hostile, settings: Settings) -> None:
    class TaskTimeoutError(BaseException):
        """As Airflow raises it, from a signal handler in the midst of anything."""

    def take(found: Any) -> None:
        if found.whatsapp_message_id == "wamid.5":
            raise TaskTimeoutError

    def flow() -> ParallelFlow[None]:
        yield Parallel((calls.whatsapp_status(f"wamid.{each}") for each in range(100)), take)

    server.always(InFlight(lambda number: 5.0 if number > 5 else 0.3).act())
    began = time.monotonic()
    with pytest.raises(TaskTimeoutError):
        run_sync(settings, flow())
    assert time.monotonic() - began < 4.9
    assert MAX_IN_FLIGHT < len(server.requests) < 2 * MAX_IN_FLIGHT


def test_a_cancelled_task_leaves_nothing_in_flight(server: Hostile, settings: Settings) -> None:
    server.always(InFlight(lambda number: 5.0 if number else 0.0).act())

    async def cancelled() -> None:
        task = asyncio.create_task(shared(settings, statuses(100)))
        await until(lambda: len(server.requests) > MAX_IN_FLIGHT)
        task.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert time.monotonic() - began < 4.0
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(cancelled())
    assert len(server.requests) == MAX_IN_FLIGHT + 1


def test_long_lists_of_calls_share_the_requests_in_flight(server: Hostile, settings: Settings) -> None:
    in_flight = InFlight(lambda _: 0.03)
    server.always(in_flight.act())

    async def both() -> None:
        first = asyncio.create_task(shared(settings, statuses(300)))
        await until(lambda: len(server.requests) >= 50)
        await shared(settings, statuses(100, first=1_000))
        assert not first.done()
        first.cancel()

    asyncio.run(both())
    assert in_flight.most <= MAX_IN_FLIGHT
    second = [index for index, number in enumerate(in_flight.answered) if number >= 1_000]
    others = [number for number in in_flight.answered[second[0] : second[-1]] if number < 1_000]
    assert 50 < len(others) < 180


def test_long_lists_of_calls_do_not_hold_up_single_calls(server: Hostile, settings: Settings) -> None:
    in_flight = InFlight(lambda _: 0.02)
    server.always(in_flight.act())
    few = range(10_000, 10_300)

    async def all_of_them() -> None:
        large = [asyncio.create_task(shared(settings, statuses(3_000, first=5_000 * which))) for which in range(2)]
        await until(lambda: len(server.requests) >= 50)
        alone = (shared(settings, calls.whatsapp_status(f"wamid.{number}")) for number in few)
        await asyncio.gather(*alone)
        for each in large:
            each.cancel()

    asyncio.run(all_of_them())
    assert in_flight.most <= MAX_IN_FLIGHT
    small = [index for index, number in enumerate(in_flight.answered) if number >= few[0]]
    between = small[-1] - small[0] + 1 - len(few)
    # Requests that are in flight when they come, and requests that are queued behind them.
    assert between <= 4 * MAX_IN_FLIGHT


def test_an_error_of_the_iterator_of_calls_ends_them_as_well(server: Hostile, settings: Settings, run: Any) -> None:
    def asked() -> Iterator[Any]:
        yield from (calls.whatsapp_status(f"wamid.{each}") for each in range(30))
        raise IntercomError("the ids cannot be read")

    def flow() -> ParallelFlow[None]:
        yield Parallel(asked(), lambda _: None)

    server.always(InFlight(lambda _: 0.05).act())
    with pytest.raises(IntercomError, match="cannot be read"):
        run(settings, flow())
