"""What triggers in one event loop share: a client, its connections, and replies to the same request."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api import calls
from intercom_provider.api.errors import ServerError, UnreachableError
from intercom_provider.api.flow import RetryLimits
from intercom_provider.triggers.shared_client import shared_client
from tests.support.drivers import send, settings_for
from tests.support.hostile import Act, Exchange, Hostile, answer, error, event, healthy, late

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from intercom_provider.api.flow import Flow
    from intercom_provider.api.settings import Settings

ONCE = RetryLimits(attempts=1)


def slowly(act: Act) -> Act:
    """Delay an answer until all triggers have made their requests."""

    def run(exchange: Exchange) -> None:
        exchange.sleep(0.2)
        act.run(exchange)

    return Act(run)


@pytest.fixture
def server() -> Iterator[Hostile]:
    with Hostile(elsewhere=False) as server:
        yield server


@pytest.fixture
def settings(server: Hostile) -> Settings:
    return settings_for(server.url)


def all_pages(ruleset_id: str = "77", limits: RetryLimits = ONCE) -> Flow[list[str]]:
    pages, seen = calls.Pages(ruleset_id), []
    while not pages.done:
        page = yield from pages.read(limits)
        seen += [each.whatsapp_message_id for each in page.events]
    return seen


def first_page_twice() -> Flow[list[int | None]]:
    """Read the first page twice, as a flow does to see whether it has changed."""
    before = yield from calls.Pages("77").read(ONCE)
    after = yield from calls.Pages("77").read(ONCE)
    return [before.total_count, after.total_count]


async def ask(settings: Settings, flow: Flow[Any], *, fresh_for: float = 0.0, shared_key: str | None = "77") -> Any:
    async with shared_client(settings, shared_key=shared_key, fresh_for=fresh_for) as client:
        return await client.run(flow)


async def ended(*waiters: Coroutine[Any, Any, Any]) -> list[Any]:
    return await asyncio.gather(*waiters, return_exceptions=True)


def test_the_same_request_of_many_is_made_once(server: Hostile, settings: Settings) -> None:
    server.pages = [[event(f"wamid.{page}.{index}", "read") for index in range(100)] for page in range(3)]
    server.always(slowly(healthy()))
    answers = asyncio.run(ended(*(ask(settings, all_pages()) for _ in range(50))))
    assert len(server.requests) == 3
    assert all(seen == answers[0] and len(seen) == 300 for seen in answers)


def test_a_long_list_is_shared_as_well(server: Hostile, settings: Settings) -> None:
    server.pages = [[event(f"wamid.{page}.{index}", "read") for index in range(100)] for page in range(30)]
    answers = asyncio.run(ended(*(ask(settings, all_pages(), fresh_for=60.0) for _ in range(3))))
    assert [len(set(seen)) for seen in answers] == [3_000] * 3
    assert len(server.requests) == 30


def test_other_requests_and_settings_are_not_shared(server: Hostile, settings: Settings) -> None:
    asyncio.run(
        ended(
            ask(settings, all_pages("77")),
            ask(settings, all_pages("78")),
            ask(settings_for(server.url, api_version="2.16"), all_pages("77")),
            ask(settings, calls.whatsapp_status("wamid.1", ONCE)),
            ask(settings, calls.whatsapp_status("wamid.2", ONCE)),
        )
    )
    assert len(server.requests) == 5
    assert sorted(request.headers["intercom-version"] for request in server.requests) == ["2.16"] + ["2.17"] * 4


def test_a_fresh_reply_is_used_again(server: Hostile, settings: Settings) -> None:
    async def later() -> None:
        async with (
            shared_client(settings, shared_key="77", fresh_for=5.0) as content,
            shared_client(settings, shared_key="77", fresh_for=0.0) as particular,
        ):
            await particular.run(all_pages())
            await content.run(all_pages())
            assert len(server.requests) == 1
            await particular.run(all_pages())
            assert len(server.requests) == 2

    asyncio.run(later())


@pytest.mark.parametrize("shared_key", ["77", None])
def test_replies_are_not_kept_without_another_trigger_of_the_same_key(
    server: Hostile, settings: Settings, shared_key: str | None
) -> None:
    async def later() -> None:
        others = None if shared_key is None else "another"
        async with (
            shared_client(settings, shared_key=others),
            shared_client(settings, shared_key=others),
            shared_client(settings, shared_key=shared_key, fresh_for=5.0) as client,
        ):
            await client.run(all_pages())
            await client.run(all_pages())

    asyncio.run(later())
    assert len(server.requests) == 2


def test_a_flow_that_repeats_a_request_gets_a_new_reply(server: Hostile, settings: Settings) -> None:
    server.always(slowly(healthy()))

    async def both() -> list[Any]:
        return await ended(*(ask(settings, first_page_twice(), fresh_for=60.0) for _ in range(3)))

    assert asyncio.run(both()) == [[1, 1]] * 3
    assert len(server.requests) == 2


def test_an_error_is_shared(server: Hostile, settings: Settings) -> None:
    server.always(slowly(error(500, "server_error")))
    ends = asyncio.run(ended(*(ask(settings, all_pages()) for _ in range(10))))
    assert [type(end) for end in ends] == [ServerError] * 10
    assert len(server.requests) == 1


def test_an_error_is_not_kept(server: Hostile, settings: Settings) -> None:
    server.script(error(500, "server_error"))

    async def twice() -> list[Any]:
        async with shared_client(settings, shared_key="77"), shared_client(settings, shared_key="77"):
            first = await ended(ask(settings, all_pages(), fresh_for=60.0))
            return first + await ended(ask(settings, all_pages(), fresh_for=60.0))

    failed, seen = asyncio.run(twice())
    assert isinstance(failed, ServerError)
    assert seen == ["wamid.1"]


def test_a_cancelled_flow_does_not_cancel_others(server: Hostile, settings: Settings) -> None:
    server.script(late(0.3, created=True))

    async def leave() -> list[Any]:
        # The first one made the request.
        waiters = [asyncio.create_task(ask(settings, all_pages())) for _ in range(10)]
        await asyncio.sleep(0.1)
        for waiter in waiters[:9]:
            waiter.cancel()
        return await asyncio.gather(*waiters, return_exceptions=True)

    *cancelled, last = asyncio.run(leave())
    assert [type(end) for end in cancelled] == [asyncio.CancelledError] * 9
    assert last == ["wamid.1"]
    assert len(server.requests) == 1


def test_a_request_without_waiting_flows_is_cancelled(server: Hostile, settings: Settings) -> None:
    server.script(late(5.0, created=True))

    async def leave() -> Any:
        async with shared_client(settings):
            waiters = [asyncio.create_task(ask(settings, all_pages())) for _ in range(3)]
            await asyncio.sleep(0.1)
            for waiter in waiters:
                waiter.cancel()
            await asyncio.gather(*waiters, return_exceptions=True)
            return await ask(settings, all_pages())

    started = time.monotonic()
    assert asyncio.run(leave()) == ["wamid.1"]
    assert time.monotonic() - started < 2.0
    assert len(server.requests) == 2


def test_each_flow_keeps_its_own_deadline(server: Hostile, settings: Settings) -> None:
    server.script(late(0.5, created=True))

    async def both() -> list[Any]:
        soon = RetryLimits(attempts=1, deadline=time.time() + 0.2)
        return await ended(ask(settings, all_pages(limits=soon)), ask(settings, all_pages()))

    started = time.monotonic()
    late_one, other = asyncio.run(both())
    assert isinstance(late_one, UnreachableError)
    assert other == ["wamid.1"]
    assert 0.4 < time.monotonic() - started < 2.0
    assert len(server.requests) == 1


def test_many_requests_take_few_connections(server: Hostile, settings: Settings) -> None:
    server.always(late(0.02, created=True))
    ends = asyncio.run(ended(*(ask(settings, all_pages(str(index)), shared_key=str(index)) for index in range(200))))
    assert ends == [["wamid.1"]] * 200
    assert max(request.connection for request in server.requests) <= 20


def test_each_flow_repeats_a_failed_request(server: Hostile, settings: Settings) -> None:
    server.script(answer(200, b"{"))
    answers = asyncio.run(ended(*(ask(settings, all_pages(limits=RetryLimits())) for _ in range(5))))
    assert answers == [["wamid.1"]] * 5
    assert 2 <= len(server.requests) <= 6


def test_the_last_user_closes_the_connections(server: Hostile, settings: Settings) -> None:
    async def come_and_go() -> None:
        async with shared_client(settings) as first:
            async with shared_client(settings) as second:
                await first.run(all_pages())
                await second.run(all_pages())
            await first.run(all_pages())
        await ask(settings, all_pages())

    asyncio.run(come_and_go())
    assert [request.connection for request in server.requests] == [1, 1, 1, 2]


def test_every_event_loop_has_its_own_client(server: Hostile, settings: Settings) -> None:
    for _ in range(2):
        assert asyncio.run(ask(settings, all_pages())) == ["wamid.1"]
    assert [request.connection for request in server.requests] == [1, 2]


def test_requests_that_change_something_are_never_shared(server: Hostile, settings: Settings) -> None:
    with pytest.raises(ValueError, match="POST /messages changes something"):
        asyncio.run(ask(settings, send(settings, ONCE)))
    assert not server.requests
