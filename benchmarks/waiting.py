"""A thousand deferred sensors in one triggerer: does its event loop keep up, and what does each of them cost."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from benchmarks.measure import Sample, alone, memory, say
from benchmarks.table import Row, allowed
from demo.machinery import sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.triggers.base import TriggerEvent

    from demo.machinery import Sandbox
    from intercom_provider.triggers.message_status import MessageStatusTrigger

_WAITERS: Final = 1_000
_INTERVAL: Final = 30.0
_INTERVALS: Final = 2
_RECIPIENTS: Final = 100
_LONGEST_STALL: Final = 0.100
_KIBIBYTES_EACH: Final = 100
_TICK: Final = 0.005


def run() -> list[Row]:
    """
    Let a thousand triggers wait, each for a ruleset of its own, and then all for one.

    :return: The rows.
    """
    rows = []
    # Slowed down so far that nothing ever settles.
    with sandbox("--rate-limit", "0", "--speed", "0.0001", log=sys.stderr) as intercom:
        for how, rulesets in (("a ruleset each", _WAITERS), ("all on one ruleset", 1)):
            for number in range(rulesets):
                intercom.ask("/_sandbox/rulesets", body={"id": f"{how[0]}{number}", "size": _RECIPIENTS})
            names = [f"{how[0]}{number % rulesets}" for number in range(_WAITERS)]
            began, stall, each = alone(_wait, intercom.connection, names)
            asked = _requests(intercom, began + _INTERVAL / 2) / _INTERVALS
            say(f"  {how}: {1000 * stall:.0f} ms, {each:.1f} KiB, {asked:.0f} requests an interval")
            what = f"{_WAITERS:,} waiting triggers, {how}"
            rows += [
                allowed(
                    f"{what}: longest stall of the event loop",
                    Sample((1000 * stall,)),
                    1000 * _LONGEST_STALL,
                    "{:.0f} ms",
                ),
                allowed(f"{what}: memory each", Sample((each,)), _KIBIBYTES_EACH, "{:.1f} KiB"),
                Row(
                    what=f"{what}: requests an interval of {_INTERVAL:.0f} s",
                    ours=f"{asked:.0f}",
                    other=f"{_WAITERS:,}: each one its own",
                    ratio=asked / _WAITERS,
                ),
            ]
    return rows


def _requests(intercom: Sandbox, since: float) -> int:
    asked = intercom.ask("/_sandbox/requests", last=20_000)["requests"]
    return sum(since <= request["time"] < since + _INTERVAL * _INTERVALS for request in asked)


def _wait(connection: dict[str, Any], rulesets: list[str]) -> tuple[float, float, float]:
    """Wait for some intervals: since when, the longest stall in seconds, and KiB a trigger."""
    os.environ["AIRFLOW_CONN_INTERCOM_DEFAULT"] = json.dumps(connection)
    return asyncio.run(_measure(rulesets))


async def _measure(rulesets: list[str]) -> tuple[float, float, float]:
    # What the first one loads is there once, and not for each of them.
    await _end(_trigger(rulesets[0], interval=0.2, lasts=1.0))
    gc.collect()
    before = memory("VmRSS")
    stalls: list[float] = []
    ticker = asyncio.create_task(_tick(stalls.append))
    began, lasts = time.time(), _INTERVAL * (_INTERVALS + 0.6)
    tasks = [asyncio.create_task(_end(_trigger(ruleset, interval=_INTERVAL, lasts=lasts))) for ruleset in rulesets]
    await asyncio.sleep(_INTERVAL * (_INTERVALS + 0.5))
    gc.collect()
    each = 1024 * (memory("VmRSS") - before) / len(rulesets)
    for event in await asyncio.gather(*tasks):
        if event.payload["status"] != "deadline":
            raise AssertionError(event.payload)
    ticker.cancel()
    return began, max(stalls), each


def _trigger(ruleset: str, *, interval: float, lasts: float) -> MessageStatusTrigger:
    # Imported here: not before Airflow's home is set.
    from intercom_provider.delivery import Criteria  # noqa: PLC0415
    from intercom_provider.looks import Watch  # noqa: PLC0415
    from intercom_provider.triggers.message_status import MessageStatusTrigger  # noqa: PLC0415
    from intercom_provider.watch import Wait  # noqa: PLC0415

    now = time.time()
    watch, criteria = Watch(ruleset_id=ruleset), Criteria(settle_for=600)
    wait = Wait(watch=watch, criteria=criteria, started=now, deadline=now + lasts)
    return MessageStatusTrigger(
        intercom_conn_id="intercom_default",
        api_version=None,
        watch=asdict(watch),
        criteria=asdict(criteria),
        state=wait.state(),
        poke_interval=interval,
    )


async def _end(trigger: MessageStatusTrigger) -> TriggerEvent:
    (event,) = [event async for event in trigger.run()]
    return event


async def _tick(tell: Callable[[float], None]) -> None:
    """Tell how much later than asked for the event loop comes back."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_TICK)
        tell(time.perf_counter() - began - _TICK)
