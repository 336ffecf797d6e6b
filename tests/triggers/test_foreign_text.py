"""One long word in a reply to one trigger does not hold up the triggers beside it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.triggers.message_status import MessageStatusTrigger
from intercom_provider.waiting.criteria import Criteria
from intercom_provider.waiting.delivery_wait import DeliveryWait
from intercom_provider.waiting.target import MessagesTarget
from tests.support import hostile
from tests.support.dags import connect
from tests.support.hostile import Act, Exchange, Hostile

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_SECONDS = 0.2
ROUNDS = 4
WORDS = {"one word": "x" * 1_000_000, "at signs": "a@" * 500_000, "digits": "1 " * 500_000}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    with Hostile() as server:
        connect(monkeypatch, server.connection)
        yield server


def trigger(number: int) -> MessageStatusTrigger:
    now = time.time()
    target = MessagesTarget((f"wamid.{number}",))
    wait = DeliveryWait(target=target, criteria=Criteria(expected_count=1), started=now, deadline=now + 2.0)
    return MessageStatusTrigger(
        intercom_conn_id="intercom_default",
        api_version=None,
        target=target.arguments(),
        criteria={"expected_count": 1},
        state=wait.state(),
        poke_interval=0.4,
    )


@pytest.mark.parametrize("kind", WORDS)
def test_a_long_word_does_not_stop_the_event_loop(server: Hostile, kind: str) -> None:
    def run(exchange: Exchange) -> None:
        number = exchange.request.query["message_id"]
        error = {"message": "No", "details": WORDS[kind] if number == "wamid.0" else "No phone"}
        hostile.answer(200, {"message_id": number, "status": "sent", "error": error}).run(exchange)

    async def until_event(each: MessageStatusTrigger) -> Any:
        return [event.payload async for event in each.run()]

    async def longest_stall() -> float:
        triggers = asyncio.gather(*(until_event(trigger(number)) for number in range(51)))
        # The first poll loads modules and makes the TLS context.
        await asyncio.sleep(0.7)
        longest, before = 0.0, time.monotonic()
        while not triggers.done():
            await asyncio.sleep(0.001)
            longest, before = max(longest, time.monotonic() - before), time.monotonic()
        assert {events[0]["status"] for events in triggers.result()} == {"deadline"}
        return longest

    server.always(Act(run), "/messages/whatsapp/status")
    # A busy machine may stop a process for half a second; the text stops the loop in each round.
    assert any(asyncio.run(longest_stall()) < LONGEST_SECONDS for _ in range(ROUNDS))
