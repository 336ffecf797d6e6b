"""When a call is made again, when it waits, and when it is over."""

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

from intercom_provider.api import calls
from intercom_provider.api.client import AsyncIntercomClient, IntercomClient
from intercom_provider.api.errors import (
    ExpiredError,
    PagingError,
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
    page,
    run_sync,
    see,
    send,
    settings_for,
    status,
    together,
)
from tests.support.hostile import (
    Hostile,
    answer,
    close_when_idle,
    drop,
    error,
    event,
    healthy,
    late,
    never_accepting,
    rate_limited,
    refusing,
)

NOT_FOUND = error(404, "not_found", "User Not Found")
both_drivers = pytest.mark.parametrize("driver", DRIVERS)


@pytest.mark.parametrize("call", CALLS)
def test_what_cannot_be_reached_is_tried_again_and_certainly_not_sent(call: str) -> None:
    def meet(driver: str) -> tuple[str, bool]:
        started = time.monotonic()
        end, problem, _ = ending_of(DRIVERS[driver], settings, CALLS[call](settings, RetryLimits(attempts=2)))
        assert time.monotonic() - started > 0.3, "it tried only once"
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


def test_who_is_torn_away_before_a_word_was_written_has_sent_nothing() -> None:
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
        # Python's own create_connection leaves its socket open where it is torn away.
        traceback.clear_frames(raised.tb)


@both_drivers
@pytest.mark.parametrize(("told", "believed"), [("wamid.2", False), ("wamid.1", True), ("4711", True), ("", True)])
def test_an_answer_about_another_message_is_no_answer(driver: str, told: str, believed: bool) -> None:
    with Hostile() as server:
        settings = settings_for(server.url)
        server.always(answer(200, {"message_id": told, "status": "failed"}))
        end, _, found = ending_of(DRIVERS[driver], settings, status(settings, RetryLimits(attempts=1)))
        assert end == ("ok" if believed else "UnreachableError")
        assert not believed or (found.whatsapp_message_id, found.status) == ("wamid.1", "failed")


@both_drivers
def test_a_conversation_about_another_message_is_no_answer_to_this_one(driver: str) -> None:
    other = {"id": "1", "source": {"id": "999"}, "statistics": {"first_contact_reply_at": 1_700_000_000}}
    with Hostile() as server:
        settings = settings_for(server.url)
        answers = [other], [other, {**other, "source": None}]
        server.script(*(answer(200, {"conversations": given}) for given in answers))
        found = DRIVERS[driver](settings, *(calls.find_conversation("403") for _ in range(2)))
    assert [each and each.source for each in found] == [None, None]
    assert [each and each.id for each in found] == [None, "1"]


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
def test_a_status_that_is_not_there_is_not_waited_for_here(driver: str) -> None:
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


def test_a_process_that_slept_past_a_messages_time_does_not_send_it() -> None:
    def sleepy() -> bool:
        time.sleep(0.3)
        return False

    with Hostile() as server, IntercomClient(settings := settings_for(server.url), stopped=sleepy) as client:
        with pytest.raises(ExpiredError):
            client.run(send(settings, RetryLimits(deadline=time.time() + 0.2)))
        assert server.created == []


def test_an_event_loop_that_was_blocked_past_a_messages_time_does_not_send_it() -> None:
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


def test_a_limit_that_is_used_up_is_waited_for_rather_than_run_into() -> None:
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


def _read_all(pages: calls.Pages) -> Flow[list[str]]:
    found: list[str] = []
    while not pages.done:
        found += [each.whatsapp_message_id for each in (yield from pages.read(RetryLimits(attempts=2))).events]
    return found


@both_drivers
def test_pages_are_read_to_the_last_one_with_one_request_each(driver: str) -> None:
    with Hostile() as server:
        server.pages = [[event(f"wamid.{n}", "sent")] for n in range(4)]
        [found] = DRIVERS[driver](settings_for(server.url), _read_all(calls.Pages("4711")))
        assert found == [f"wamid.{n}" for n in range(4)]
        assert [request.query.get("starting_after") for request in server.requests] == [None, "1", "2", "3"]


def test_a_page_that_breaks_in_the_middle_is_read_again_alone() -> None:
    def read(driver: str) -> tuple[list[str], int]:
        with Hostile() as server:
            server.pages = [[event(f"wamid.{n}", "sent")] for n in range(3)]
            server.script(healthy(), drop(), healthy())
            [found] = DRIVERS[driver](settings_for(server.url), _read_all(calls.Pages("4711")))
            return found, len(server.requests)

    assert in_both_drivers(read) == (["wamid.0", "wamid.1", "wamid.2"], 4)


def _listing(events: list[dict[str, Any]], following: object) -> dict[str, Any]:
    return {"type": "list", "events": events, "pages": {"next": following}}


@both_drivers
@pytest.mark.parametrize("following", [None, {}, {"starting_after": None}, {"starting_after": ""}])
def test_the_last_page_may_say_so_in_any_way(driver: str, following: object) -> None:
    with Hostile() as server:
        server.always(answer(200, _listing([event("wamid.1", "sent")], following)))
        [found] = DRIVERS[driver](settings_for(server.url), _read_all(calls.Pages("4711")))
        assert (found, len(server.requests)) == (["wamid.1"], 1)


@both_drivers
def test_a_list_that_leads_back_to_itself_is_an_error(driver: str) -> None:
    with Hostile() as server:
        server.always(answer(200, _listing([event("wamid.1", "sent")], {"starting_after": "again"})))
        with pytest.raises(PagingError, match="4711"):
            DRIVERS[driver](settings_for(server.url), _read_all(calls.Pages("4711")))
        assert len(server.requests) == 2


@both_drivers
def test_a_list_of_nothing_but_empty_pages_is_an_error(driver: str) -> None:
    with Hostile() as server:
        server.script(*(answer(200, _listing([], {"starting_after": str(n)})) for n in range(100)))
        with pytest.raises(PagingError):
            DRIVERS[driver](settings_for(server.url), _read_all(calls.Pages("4711")))
        assert len(server.requests) < 20


def test_a_reply_that_is_newer_than_this_provider_is_read_all_the_same() -> None:
    more = {"new": {"field": [1]}}
    with Hostile() as server:
        settings = settings_for(server.url)
        server.script(
            answer(200, {"type": "admin_message", "id": 403, "conversation_id": 7, **more}),
            answer(200, {"status": "seen", "message_id": "wamid.1", "created_at": "1700000000", **more}),
            answer(200, _listing([event("wamid.1", "seen", **more)], None) | more),
        )
        sent, found, listed = run_sync(
            settings, send(settings, RetryLimits()), status(settings, RetryLimits()), page(settings, RetryLimits())
        )
    assert (sent.id, sent.conversation_id, sent.outcome) == ("403", "7", "sent")
    assert (found.status, found.created_at) == ("seen", 1_700_000_000)
    assert listed.events[0].status == "seen"


def test_the_token_goes_to_the_host_itself_whatever_proxy_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Hostile() as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, server.elsewhere.url)
        settings = settings_for(server.url)
        for driver in DRIVERS.values():
            driver(settings, send(settings, RetryLimits(attempts=1)))
        assert len(server.created) == 2
        assert server.elsewhere.requests == []
