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

from benchmarks.measure import Sample, alone, beside, memory, say
from benchmarks.table import Row, allowed
from demo.machinery import sandbox

if TYPE_CHECKING:
    from demo.machinery import Sandbox
    from intercom_provider.triggers.message_status import MessageStatusTrigger

_WAITERS: Final = 1_000
_INTERVAL: Final = 30.0
_INTERVALS: Final = 2
_RECIPIENTS: Final = 100
_LONGEST_STALL: Final = 0.100
_KIBIBYTES_EACH: Final = 100
_TICK: Final = 0.005
_LASTS: Final = _INTERVAL * (_INTERVALS + 0.5)
_FAR: Final = 86_400.0


def run() -> list[Row]:
    """
    Let a thousand triggers wait, each for a ruleset of its own, and then all for one.

    :return: The rows.
    """
    rows = []
    # Slowed down so far that nothing ever settles.
    with sandbox("--rate-limit", "0", "--speed", "0.0001", log=sys.stderr) as intercom:
        for how, rulesets in (("a ruleset each", _WAITERS), ("all on one ruleset", 1)):
            names = [f"one of {rulesets}: {number % rulesets}" for number in range(_WAITERS)]
            for name in dict.fromkeys(names):
                intercom.ask("/_sandbox/rulesets", body={"id": name, "size": _RECIPIENTS})
            with beside(_idle) as idle_loop:
                began, stall, worked, each = alone(_wait, intercom.connection, names)
                idle = idle_loop()
            asked = _requests(intercom, began + _INTERVAL / 2) / _INTERVALS
            say(f"  {how}: {1000 * stall:.0f} ms, idle {1000 * idle:.0f} ms, {each:.1f} KiB, {asked:.0f} requests")
            what = f"{_WAITERS:,} waiting triggers, {how}"
            rows += [
                Row(
                    what=f"{what}: longest stall of the event loop",
                    ours=f"{1000 * stall:.0f} ms; {1000 * worked:.0f} ms of work without a pause",
                    other=f"{1000 * _LONGEST_STALL:.0f} ms allowed; {1000 * idle:.0f} ms in an idle loop beside it",
                    ratio=stall / _LONGEST_STALL,
                    at_most=1,
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


def _wait(connection: dict[str, Any], rulesets: list[str]) -> tuple[float, float, float, float]:
    """Wait for some intervals: since when, the longest stall and the longest work in seconds, KiB a trigger."""
    os.environ["AIRFLOW_CONN_INTERCOM_DEFAULT"] = json.dumps(connection)
    return asyncio.run(_measure(rulesets))


async def _measure(rulesets: list[str]) -> tuple[float, float, float, float]:
    # What the first one loads is there once, and not for each of them.
    first = await _started(rulesets[:1], interval=0.2)
    await asyncio.sleep(1.0)
    await _cancelled(first)
    gc.collect()
    # To look through all that Airflow has loaded takes the garbage collector 100 ms, with whatever triggers.
    gc.freeze()
    before = memory("VmRSS")
    ticker = asyncio.create_task(_longest_stall(_LASTS))
    began = time.time()
    tasks = await _started(rulesets, interval=_INTERVAL)
    stall, worked = await ticker
    gc.collect()
    each = 1024 * (memory("VmRSS") - before) / len(rulesets)
    if ended := [task for task in tasks if task.done()]:
        raise AssertionError(f"{len(ended)} have ended, one with {ended[0].result()}")
    await _cancelled(tasks)
    return began, stall, worked, each


async def _started(rulesets: list[str], *, interval: float) -> list[asyncio.Task[None]]:
    tasks = []
    for ruleset in rulesets:
        # Twice, as Airflow's triggerer does when it takes up a trigger.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(_run(_trigger(ruleset, interval))))
    return tasks


async def _run(trigger: MessageStatusTrigger) -> None:
    async for event in trigger.run():
        say(f"  {event}")


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _trigger(ruleset: str, interval: float) -> MessageStatusTrigger:
    # Imported here: not before Airflow's home is set.
    from intercom_provider.triggers.message_status import MessageStatusTrigger
    from intercom_provider.waiting.criteria import Criteria
    from intercom_provider.waiting.delivery_wait import DeliveryWait
    from intercom_provider.waiting.target import RulesetTarget

    now = time.time()
    target, criteria = RulesetTarget(ruleset), Criteria(settle_for=600)
    wait = DeliveryWait(target=target, criteria=criteria, started=now, deadline=now + _FAR)
    return MessageStatusTrigger(
        intercom_conn_id="intercom_default",
        api_version=None,
        target=target.arguments(),
        criteria=asdict(criteria),
        state=wait.state(),
        poke_interval=interval,
    )


async def _longest_stall(lasts: float) -> tuple[float, float]:
    """Tell by how many seconds the event loop came back late at worst, and how long it worked at most meanwhile."""
    late = worked = 0.0
    end = time.perf_counter() + lasts
    while (began := time.perf_counter()) < end:
        at_work = time.thread_time()
        await asyncio.sleep(_TICK)
        late = max(late, time.perf_counter() - began - _TICK)
        worked = max(worked, time.thread_time() - at_work)
    return late, worked


def _idle() -> float:
    """Tell what an event loop suffers at worst that has nothing to do, while this machine does the rest."""
    return asyncio.run(_longest_stall(_LASTS))[0]
