"""Asking for single messages: a poll that asks side by side, against asking for one after the other."""

from __future__ import annotations

import asyncio
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from benchmarks.measure import Cpu, in_turns
from benchmarks.table import Row
from demo.machinery import sandbox
from intercom_provider.api import calls
from intercom_provider.api.client import IntercomClient
from intercom_provider.api.settings import Settings
from intercom_provider.triggers.shared_client import shared_client
from intercom_provider.waiting.criteria import Criteria
from intercom_provider.waiting.delivery_wait import DeliveryWait
from intercom_provider.waiting.statuses import Summary
from intercom_provider.waiting.target import MessagesTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercom_provider.api.parallel import ParallelFlow
    from intercom_provider.waiting.poll import FullPoll, PartialPoll

_MESSAGES: Final = 100
_IDS: Final = tuple(f"wamid.{number:05}" for number in range(_MESSAGES))
_AT_LEAST: Final = 8


def run() -> list[Row]:
    """
    Poll as the sensor and as the trigger do, and as a loop does.

    :return: The rows.
    """
    # The sandbox's own time stands still, so that nothing settles in between.
    with sandbox("--rate-limit", "0", "--latency", "0.3", "--speed", "0.000001", log=sys.stderr) as intercom:
        events = [{"whatsapp_message_id": each, "status": "sent"} for each in _IDS]
        intercom.ask("/_sandbox/rulesets", body={"id": "messages", "events": events})
        settings = Settings(token=intercom.connection["password"], base_url=intercom.url)
        loop = "one after the other"
        contenders = {"by a task": _polled_by_a_task, "by a trigger": _polled_by_a_trigger, loop: _one_after_the_other}
        cpu = Cpu()
        found = in_turns({name: partial(_seconds, poll, settings, cpu, name) for name, poll in contenders.items()})
    return [
        Row(
            what=f"a poll of {_MESSAGES} messages, {how}: times as fast",
            ours=found[how].told("{:.2f} s"),
            other=f"{found[loop].told('{:.1f} s')}, {loop}",
            ratio=found[loop].median / found[how].median,
            at_least=_AT_LEAST,
            cpu=cpu.told(how, loop),
        )
        for how in ("by a task", "by a trigger")
    ]


def _poll() -> ParallelFlow[FullPoll | PartialPoll]:
    now = time.time()
    criteria = Criteria(expected_count=_MESSAGES)
    wait = DeliveryWait(target=MessagesTarget(_IDS), criteria=criteria, started=now, deadline=now + 86_400)
    return wait.partial_poll(now)


def _seconds(poll: Callable[[Settings], None], settings: Settings, cpu: Cpu, name: str) -> float:
    began = time.perf_counter()
    with cpu.spent(name, _MESSAGES):
        poll(settings)
    return time.perf_counter() - began


def _polled_by_a_task(settings: Settings) -> None:
    with IntercomClient(settings) as client:
        _check(client.run(_poll()))


def _polled_by_a_trigger(settings: Settings) -> None:
    async def poll() -> None:
        async with shared_client(settings) as client:
            _check(await client.run(_poll()))

    asyncio.run(poll())


def _one_after_the_other(settings: Settings) -> None:
    with IntercomClient(settings) as client:
        statuses = [client.run(calls.whatsapp_status(each)).status for each in _IDS]
    if statuses != ["sent"] * _MESSAGES:
        raise AssertionError(f"read {statuses}")


def _check(found: FullPoll | PartialPoll) -> None:
    if found.summary != Summary(total=_MESSAGES, sent=_MESSAGES):
        raise AssertionError(f"read {found}")
