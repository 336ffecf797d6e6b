"""Many triggers in one event loop, as a triggerer runs them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from intercom_provider.triggers.message_status import MessageStatusTrigger
from intercom_provider.waiting.criteria import Criteria
from intercom_provider.waiting.delivery_wait import DeliveryWait
from intercom_provider.waiting.target import MessagesTarget, RulesetTarget
from tests.support.dags import connect

if TYPE_CHECKING:
    import pytest

    from intercom_provider.sandbox import Sandbox
    from intercom_provider.waiting.target import Target

Events = list[dict[str, Any]]


def trigger(target: Target, *, interval: float, lasts: float) -> MessageStatusTrigger:
    now = time.time()
    criteria = Criteria(expected_count=1, max_failed=None)
    wait = DeliveryWait(target=target, criteria=criteria, started=now, deadline=now + lasts)
    return MessageStatusTrigger(
        intercom_conn_id="intercom_default",
        api_version=None,
        target=target.arguments(),
        criteria=asdict(criteria),
        state=wait.state(),
        poke_interval=interval,
    )


async def end_of(trigger: MessageStatusTrigger) -> str:
    (event,) = [event async for event in trigger.run()]
    return str(event.payload["status"])


async def ends_of(triggers: list[MessageStatusTrigger]) -> list[Any]:
    return await asyncio.gather(*map(end_of, triggers), return_exceptions=True)


def pending(sandbox: Sandbox, ruleset_id: str, number: int = 1, status: str = "sent") -> RulesetTarget:
    events = [{"whatsapp_message_id": f"wamid.{ruleset_id}.{each}=", "status": status} for each in range(number)]
    sandbox.add_ruleset(ruleset_id, events=events)
    return RulesetTarget(ruleset_id)


def test_triggers_of_one_ruleset_share_replies(sandbox: Sandbox) -> None:
    target = pending(sandbox, "77", number=250)
    ends = asyncio.run(ends_of([trigger(target, interval=0.6, lasts=2.1) for _ in range(100)]))
    assert ends == ["deadline"] * 100
    # Three pages a poll and up to three polls; without sharing it would be a hundred times as many.
    assert 3 <= len(sandbox.requests) <= 12


def test_triggers_that_start_together_do_not_poll_together(sandbox: Sandbox) -> None:
    targets = [pending(sandbox, str(number), status="read") for number in range(100)]
    ends = asyncio.run(ends_of([trigger(target, interval=0.6, lasts=60.0) for target in targets]))
    assert ends == ["settled"] * 100
    first: dict[str, float] = {}
    for request in sandbox.requests:
        first.setdefault(request.params["ruleset_id"], request.time)
    assert len(first) == 100
    assert max(first.values()) - min(first.values()) > 0.4


def test_a_deadline_before_the_first_poll_ends_the_wait(sandbox: Sandbox) -> None:
    targets = [pending(sandbox, str(number)) for number in range(20)]
    started = time.time()
    ends = asyncio.run(ends_of([trigger(target, interval=60.0, lasts=0.5) for target in targets]))
    assert ends == ["deadline"] * 20
    assert 0.4 <= time.time() - started < 1.5
    assert not sandbox.requests


def test_triggers_that_share_replies_keep_their_own_deadlines(sandbox: Sandbox) -> None:
    target = pending(sandbox, "77")

    async def lasted(seconds: float) -> float:
        began = time.time()
        assert await end_of(trigger(target, interval=0.2, lasts=seconds)) == "deadline"
        return time.time() - began - seconds

    async def together() -> list[float]:
        return await asyncio.gather(*(lasted(0.5 + number / 20) for number in range(20)))

    assert all(-0.1 <= late < 0.5 for late in asyncio.run(together()))


def test_a_cancelled_trigger_does_not_cancel_the_requests_of_others(sandbox: Sandbox) -> None:
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


def test_single_messages_of_several_triggers_are_polled(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    target = MessagesTarget(tuple(f"wamid.{number}=" for number in range(5)))
    connect(monkeypatch, sandbox.connection)
    ends = asyncio.run(ends_of([trigger(target, interval=0.5, lasts=1.2) for _ in range(4)]))
    assert ends == ["deadline"] * 4
    # The sandbox does not know them, so they count as pending.
    assert 5 <= len(sandbox.requests) <= 2 * 5 * 4


def test_a_wrong_connection_ends_every_wait_with_an_event(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    target = pending(sandbox, "77")
    connect(monkeypatch, {**sandbox.connection, "password": "another-token"})
    ends = asyncio.run(ends_of([trigger(target, interval=0.2, lasts=20.0) for _ in range(10)]))
    assert ends == ["error"] * 10
    assert len(sandbox.requests) <= 10
