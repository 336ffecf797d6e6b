"""Many triggers in one event loop, as a triggerer runs them: none at the cost of the others."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from intercom_provider.triggers.message_status import MessageStatusTrigger
from intercom_provider.waiting.delivery_wait import DeliveryWait
from intercom_provider.waiting.poll import Watch
from intercom_provider.waiting.statuses import Criteria
from tests.support.dags import connect

if TYPE_CHECKING:
    import pytest

    from intercom_provider.sandbox import Sandbox

Events = list[dict[str, Any]]


def trigger(target: Watch, *, interval: float, lasts: float) -> MessageStatusTrigger:
    now = time.time()
    criteria = Criteria(expected_count=1, max_failed=None)
    wait = DeliveryWait(target=target, criteria=criteria, started=now, deadline=now + lasts)
    return MessageStatusTrigger(
        intercom_conn_id="intercom_default",
        api_version=None,
        target=asdict(target),
        criteria=asdict(criteria),
        state=wait.state(),
        poke_interval=interval,
    )


async def end_of(trigger: MessageStatusTrigger) -> str:
    (event,) = [event async for event in trigger.run()]
    return str(event.payload["status"])


async def ends_of(triggers: list[MessageStatusTrigger]) -> list[Any]:
    return await asyncio.gather(*map(end_of, triggers), return_exceptions=True)


def pending(sandbox: Sandbox, ruleset_id: str, number: int = 1, status: str = "sent") -> Watch:
    events = [{"whatsapp_message_id": f"wamid.{ruleset_id}.{each}=", "status": status} for each in range(number)]
    sandbox.add_ruleset(ruleset_id, events=events)
    return Watch(ruleset_id=ruleset_id)


def test_those_that_watch_the_same_look_at_it_together(sandbox: Sandbox) -> None:
    target = pending(sandbox, "77", number=250)
    ends = asyncio.run(ends_of([trigger(target, interval=0.6, lasts=2.1) for _ in range(100)]))
    assert ends == ["deadline"] * 100
    # Three pages a look, and up to three looks, where each by itself would have asked for three hundred.
    assert 3 <= len(sandbox.requests) <= 12


def test_those_that_are_taken_up_at_once_do_not_look_at_once(sandbox: Sandbox) -> None:
    watches = [pending(sandbox, str(number), status="read") for number in range(100)]
    ends = asyncio.run(ends_of([trigger(target, interval=0.6, lasts=60.0) for target in watches]))
    assert ends == ["settled"] * 100
    first: dict[str, float] = {}
    for request in sandbox.requests:
        first.setdefault(request.params["ruleset_id"], request.time)
    assert len(first) == 100
    assert max(first.values()) - min(first.values()) > 0.4


def test_a_deadline_comes_before_a_look_that_would_be_later(sandbox: Sandbox) -> None:
    watches = [pending(sandbox, str(number)) for number in range(20)]
    started = time.time()
    ends = asyncio.run(ends_of([trigger(target, interval=60.0, lasts=0.5) for target in watches]))
    assert ends == ["deadline"] * 20
    assert 0.4 <= time.time() - started < 1.5
    assert not sandbox.requests


def test_each_keeps_its_own_deadline_while_they_look_together(sandbox: Sandbox) -> None:
    target = pending(sandbox, "77")

    async def lasted(seconds: float) -> float:
        began = time.time()
        assert await end_of(trigger(target, interval=0.2, lasts=seconds)) == "deadline"
        return time.time() - began - seconds

    async def together() -> list[float]:
        return await asyncio.gather(*(lasted(0.5 + number / 20) for number in range(20)))

    assert all(-0.1 <= late < 0.5 for late in asyncio.run(together()))


def test_one_that_is_cancelled_leaves_the_others_waiting(sandbox: Sandbox) -> None:
    target = pending(sandbox, "77")
    sandbox.settings.latency = 0.3

    async def cancel_half() -> list[Any]:
        waiters = [asyncio.create_task(end_of(trigger(target, interval=0.2, lasts=20.0))) for _ in range(10)]
        await asyncio.sleep(0.5)
        for waiter in waiters[::2]:
            waiter.cancel()
        sandbox.set_status("wamid.77.0=", "read")
        return await asyncio.gather(*waiters, return_exceptions=True)

    ends = asyncio.run(cancel_half())
    assert [type(end) for end in ends[::2]] == [asyncio.CancelledError] * 5
    assert ends[1::2] == ["settled"] * 5


def test_single_messages_of_several_are_asked_for_once(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Watch(whatsapp_message_ids=tuple(f"wamid.{number}=" for number in range(5)))
    connect(monkeypatch, sandbox.connection)
    ends = asyncio.run(ends_of([trigger(target, interval=0.5, lasts=1.2) for _ in range(4)]))
    assert ends == ["deadline"] * 4
    # Nobody knows them, which is "not yet".
    assert 5 <= len(sandbox.requests) <= 2 * 5 * 4


def test_a_wrong_connection_ends_every_wait_with_an_event(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    target = pending(sandbox, "77")
    connect(monkeypatch, {**sandbox.connection, "password": "another-token"})
    ends = asyncio.run(ends_of([trigger(target, interval=0.2, lasts=20.0) for _ in range(10)]))
    assert ends == ["error"] * 10
    assert len(sandbox.requests) <= 10
