"""When a call repeats its request, when it waits, and when it ends."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
import traceback
import warnings
from functools import partial
from typing import Any

import pytest

from intercom_provider.api.client import AsyncIntercomClient, IntercomClient
from intercom_provider.api.errors import (
    ExpiredError,
    RateLimitedError,
    StoppedError,
)
from intercom_provider.api.flow import Flow, RetryLimits
from intercom_provider.sandbox import Sandbox
from tests.support.drivers import (
    CALLS,
    DRIVERS,
    GETS,
    Seen,
    ending_of,
    in_both_drivers,
    see,
    send,
    settings_for,
    status,
    together,
)
from tests.support.hostile import (
    Act,
    Hostile,
    answer,
    close_when_idle,
    drop,
    error,
    healthy,
    late,
    never_accepting,
    rate_limited,
    refusing,
)

NOT_FOUND = error(404, "not_found", "User Not Found")
both_drivers = pytest.mark.parametrize("driver", DRIVERS)


@pytest.mark.parametrize("call", CALLS)
def test_an_unreachable_host_is_tried_again_and_nothing_was_sent(call: str) -> None:
    def meet(driver: str) -> tuple[str, bool]:
        started = time.monotonic()
        end, problem, _ = ending_of(DRIVERS[driver], settings, CALLS[call](settings, RetryLimits(attempts=2)))
        assert time.monotonic() - started > 0.3, "it tried only once"
        assert f"on the way to {url.removeprefix('http://')}" in str(problem)
        return end, "was not sent" in str(problem)

    with refusing() as url:
        settings = settings_for(url)
        assert in_both_drivers(meet) == ("UnreachableError", call == "send")


@both_drivers
def test_a_connection_that_takes_too_long_is_certainly_not_a_send(driver: str) -> None:
    with never_accepting() as url:
        settings = settings_for(url, timeout=0.6)
        end, problem, _ = ending_of(DRIVERS[driver], settings, send(settings, RetryLimits(attempts=1)))
    assert (end, "was not sent" in str(problem)) == ("UnreachableError", True)


def test_a_task_that_times_out_while_connecting_has_sent_nothing() -> None:
    class TaskTimeoutError(BaseException):
        """As Airflow raises it, from a signal handler in the midst of anything."""

    def strike(*_: object) -> None:
        raise TaskTimeoutError

    before = signal.signal(signal.SIGALRM, strike)
    try:
        with never_accepting() as url, IntercomClient(settings_for(url)) as client:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(TaskTimeoutError) as raised:
                client.run(send(client.settings, RetryLimits()))
            assert not client.may_have_sent
    finally:
        signal.signal(signal.SIGALRM, before)
    with warnings.catch_warnings(action="ignore"):
        # Python's own create_connection leaves its socket open when it is interrupted.
        traceback.clear_frames(raised.tb)


@both_drivers
def test_a_send_goes_out_once_when_the_server_comes_back(driver: str) -> None:
    with Hostile() as server:
        server.script(rate_limited())
        settings = settings_for(server.url)
        assert see(server, driver, "send", settings, RetryLimits()) == Seen("ok", 2, 1)


@both_drivers
@pytest.mark.parametrize("call", CALLS)
def test_a_connection_that_the_server_closed_while_idle_costs_nothing(driver: str, call: str) -> None:
    with Hostile() as server:
        server.script(close_when_idle())
        settings = settings_for(server.url)

        def idle() -> Flow[None]:
            time.sleep(0.15)
            return
            yield

        flows = [CALLS[call](settings, RetryLimits(attempts=1)) for _ in range(2)]
        DRIVERS[driver](settings, flows[0], idle(), flows[1])
        assert len(server.requests) == 2
        assert len(server.created) == (2 if call == "send" else 0)
        assert [request.connection for request in server.requests] == [1, 2]


@both_drivers
def test_a_connection_is_kept_for_the_next_request(driver: str) -> None:
    with Hostile() as server:
        settings = settings_for(server.url)
        DRIVERS[driver](settings, *(status(settings, RetryLimits()) for _ in range(3)))
        assert [request.connection for request in server.requests] == [1, 1, 1]


@pytest.mark.parametrize("times", [1, 2])
def test_a_contact_that_turns_up_within_the_wait_gets_exactly_one_message(times: int) -> None:
    def meet(driver: str) -> Seen:
        with Hostile() as server:
            server.script(*[NOT_FOUND] * times)
            return see(server, driver, "send", settings_for(server.url), RetryLimits(contact_wait=3))

    assert in_both_drivers(meet) == Seen("ok", times + 1, 1)


def test_a_contact_that_turns_up_at_the_end_of_the_wait_gets_its_message() -> None:
    def meet(driver: str) -> tuple[str, int]:
        with Hostile() as server:
            server.always(NOT_FOUND)
            appear = threading.Timer(1.0, server.always, [healthy()])
            appear.start()
            seen = see(server, driver, "send", settings_for(server.url), RetryLimits(contact_wait=1.3))
            appear.join()
            return seen.end, seen.created

    assert in_both_drivers(meet) == ("ok", 1)


@both_drivers
@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize(
    "refusal", [NOT_FOUND, rate_limited(), rate_limited(retry_after="1")], ids=["404", "429", "1 s"]
)
def test_a_clock_that_is_set_changes_no_pause(
    driver: str, hours: int, refusal: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hostile() as server:
        server.script(refusal)
        now = time.time
        monkeypatch.setattr("time.time", lambda: now() + 3_600 * hours * bool(server.requests))
        began = time.monotonic()
        seen = see(server, driver, "send", settings_for(server.url), RetryLimits(contact_wait=30))
        assert (seen.end, seen.created) == ("ok", 1)
        assert time.monotonic() - began < 60


@both_drivers
def test_a_time_that_people_name_follows_the_clock_that_is_set(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Hostile() as server:
        server.script(NOT_FOUND)
        now = time.time
        monkeypatch.setattr("time.time", lambda: now() + 3_600 * bool(server.requests))
        limits = RetryLimits(contact_wait=3, deadline=now() + 1_800)
        assert see(server, driver, "send", settings_for(server.url), limits) == Seen("ExpiredError", 1, 0)


def test_a_contact_that_does_not_turn_up_ends_the_wait_in_time() -> None:
    def meet(driver: str) -> tuple[str, int]:
        with Hostile() as server:
            server.always(NOT_FOUND)
            started = time.monotonic()
            seen = see(server, driver, "send", settings_for(server.url), RetryLimits(contact_wait=1))
            assert 2 <= seen.requests <= 4
            assert 0.9 < time.monotonic() - started < 2.5
            return seen.end, seen.created

    assert in_both_drivers(meet) == ("ContactNotFoundError", 0)


@both_drivers
def test_without_a_wait_a_missing_contact_is_an_error_at_once(driver: str) -> None:
    with Hostile() as server:
        server.always(NOT_FOUND)
        assert see(server, driver, "send", settings_for(server.url), RetryLimits()) == Seen(
            "ContactNotFoundError", 1, 0
        )


@both_drivers
def test_a_missing_sender_is_not_waited_for(driver: str) -> None:
    with Hostile() as server:
        server.always(error(404, "admin_not_found"))
        seen = see(server, driver, "send", settings_for(server.url), RetryLimits(contact_wait=30))
    assert seen == Seen("NotFoundError", 1, 0)


@both_drivers
def test_a_missing_status_is_not_waited_for(driver: str) -> None:
    with Hostile() as server:
        server.always(error(404, "whatsapp_message_not_found"))
        seen = see(server, driver, "status", settings_for(server.url), RetryLimits(contact_wait=0))
    assert seen == Seen("NotFoundError", 1, 0)


@both_drivers
def test_nothing_is_sent_after_its_time(driver: str) -> None:
    with Hostile() as server:
        seen = see(server, driver, "send", settings_for(server.url), RetryLimits(deadline=time.time() - 1))
    assert seen == Seen("ExpiredError", 0, 0)


@both_drivers
@pytest.mark.parametrize("act", [rate_limited(), rate_limited(retry_after="5")])
def test_a_message_whose_time_passes_while_the_limit_is_used_up_has_expired(driver: str, act: Any) -> None:
    with Hostile() as server:
        server.always(act)
        deadline = time.time() + 0.8
        settings = settings_for(server.url)
        end, problem, _ = ending_of(DRIVERS[driver], settings, send(settings, RetryLimits(deadline=deadline)))
        assert (end, server.created) == ("ExpiredError", [])
        assert all(request.time < deadline + 0.3 for request in server.requests)
        assert "429" in str(problem)
        assert "not sent" in str(problem) or "before the message could be sent" in str(problem)


@both_drivers
def test_a_message_whose_time_passes_while_nobody_answers_has_expired(driver: str) -> None:
    with refusing() as url:
        settings = settings_for(url)
        end, _, _ = ending_of(DRIVERS[driver], settings, send(settings, RetryLimits(deadline=time.time() + 0.3)))
    assert end == "ExpiredError"


def test_a_process_that_slept_past_not_after_does_not_send() -> None:
    def sleepy() -> bool:
        time.sleep(0.3)
        return False

    with Hostile() as server, IntercomClient(settings := settings_for(server.url), stopped=sleepy) as client:
        with pytest.raises(ExpiredError):
            client.run(send(settings, RetryLimits(deadline=time.time() + 0.2)))
        assert server.created == []


def test_an_event_loop_that_was_blocked_past_not_after_does_not_send() -> None:
    async def run(settings: Any) -> None:
        async def block() -> None:
            time.sleep(0.4)  # noqa: ASYNC251

        async with AsyncIntercomClient(settings) as client:
            blocker = asyncio.create_task(block())
            try:
                await client.run(send(settings, RetryLimits(deadline=time.time() + 0.2)))
            finally:
                await blocker

    with Hostile() as server:
        with pytest.raises(ExpiredError):
            asyncio.run(run(settings_for(server.url)))
        assert server.created == []


@pytest.mark.parametrize("act", [drop(), answer(503), rate_limited(), rate_limited(retry_after="30"), late(5)])
def test_a_deadline_bounds_waits_and_slow_replies(act: Any) -> None:
    def meet(driver: str, call: str) -> tuple[str, float]:
        started = time.monotonic()
        limits = RetryLimits(deadline=time.time() + 0.7)
        end, _, _ = ending_of(DRIVERS[driver], settings, CALLS[call](settings, limits))
        return end, time.monotonic() - started

    with Hostile() as server:
        server.always(act)
        settings = settings_for(server.url, timeout=30)
        for end, seconds in together(*(partial(meet, driver, call) for driver in DRIVERS for call in GETS)):
            assert end in {"UnreachableError", "ServerError", "RateLimitedError"}
            assert seconds < 2.5


@both_drivers
def test_a_limit_that_opens_too_late_is_not_waited_for(driver: str) -> None:
    with Hostile() as server:
        server.always(rate_limited(retry_after="3600"))
        settings = settings_for(server.url)
        for call in CALLS:
            end, problem, _ = ending_of(DRIVERS[driver], settings, CALLS[call](settings, RetryLimits()))
            assert end == "RateLimitedError"
            assert isinstance(problem, RateLimitedError)
            assert problem.retry_at == pytest.approx(time.time() + 3600, abs=5)
        assert len(server.requests) == len(CALLS)


@pytest.mark.parametrize(
    ("act", "at_least"),
    [
        (rate_limited(), 0.3),
        (rate_limited(retry_after="0"), 0.3),
        (rate_limited(reset_in=-1000), 0.3),
        (rate_limited(retry_after="1"), 1.0),
    ],
)
def test_no_429_makes_a_hot_loop(act: Any, at_least: float) -> None:
    def meet(driver: str) -> bool:
        with Hostile() as server:
            server.always(act)
            see(server, driver, "send", settings_for(server.url), RetryLimits(attempts=2))
            first, second = (request.time for request in server.requests)
            return at_least <= second - first < at_least + 1

    assert in_both_drivers(meet)


def test_a_limit_that_is_used_up_is_waited_for_before_a_429() -> None:
    def send_three(driver: str) -> list[int]:
        with Sandbox(rate_limit=2, speed=1000) as sandbox:
            settings = settings_for(sandbox.url, token=sandbox.token)
            DRIVERS[driver](settings, *(send(settings, RetryLimits()) for _ in range(3)))
            assert len(sandbox.messages) == 3
            return [request.status for request in sandbox.requests]

    assert in_both_drivers(send_three) == [200, 200, 200]


def test_a_stopped_client_makes_no_request() -> None:
    with Hostile() as server, IntercomClient(settings := settings_for(server.url), stopped=lambda: True) as client:
        for call in CALLS.values():
            with pytest.raises(StoppedError):
                client.run(call(settings, RetryLimits()))
        assert server.requests == []


@pytest.mark.parametrize("act", [drop(), rate_limited(), rate_limited(retry_after="20"), answer(503)])
def test_a_client_that_is_stopped_while_it_waits_stops_waiting(act: Any) -> None:
    with Hostile() as server:
        server.always(act)
        with IntercomClient(settings := settings_for(server.url), stopped=lambda: bool(server.requests)) as client:
            started = time.monotonic()
            with pytest.raises(StoppedError):
                client.run(status(settings, RetryLimits()))
            assert time.monotonic() - started < 3
        assert len(server.requests) == 1
