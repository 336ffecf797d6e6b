"""Polling a ruleset until it is settled: how many requests it takes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

import httpx

from benchmarks.measure import say
from benchmarks.table import Row
from demo.machinery import sandbox
from intercom_provider.api.client import IntercomClient
from intercom_provider.api.settings import Settings
from intercom_provider.waiting.criteria import Criteria
from intercom_provider.waiting.delivery_wait import DeliveryWait
from intercom_provider.waiting.target import RulesetTarget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.machinery import Sandbox
    from intercom_provider.waiting.statuses import Summary

_PAGES: Final = 100
_PER_PAGE: Final = 100
_MESSAGES: Final = _PAGES * _PER_PAGE
_STRIDE: Final = 7_919
_POLLS: Final = 30
_ALLOWED: Final = {0: _POLLS + 3 * _PAGES, 0.05: 800}
_INTERVAL: Final = 60.0


def run() -> list[Row]:
    """
    Poll as the sensor does, and as a loop does that reads the whole list each time.

    :return: The rows.
    """
    orders = {
        "in the list's order": range(_MESSAGES),
        "scattered over the list": [(position * _STRIDE) % _MESSAGES for position in range(_MESSAGES)],
    }
    return [_row(how, list(order), max_pending) for max_pending in _ALLOWED for how, order in orders.items()]


def _row(how: str, order: list[int], max_pending: float) -> Row:
    # The sandbox's own time stands still: what becomes of a message is said by hand.
    with sandbox("--rate-limit", "0", "--speed", "0.000001", log=sys.stderr) as intercom:
        ids = [f"wamid.{number:05}" for number in range(_MESSAGES)]
        events = [{"whatsapp_message_id": message_id, "status": "sent"} for message_id in ids]
        intercom.ask("/_sandbox/rulesets", body={"id": how, "events": events})
        ours, summary = _polled(intercom, how, [ids[position] for position in order], max_pending)
        naive, counted = _requests_of_one_pass(intercom, how)
    if (summary.delivered, summary.failed) != counted:
        raise AssertionError(f"{summary} is not {counted}")
    say(f"  {how}, max_pending={max_pending}: {ours} requests")
    allowed = _ALLOWED[max_pending]
    return Row(
        what=f"requests until it is settled, max_pending={max_pending}, {how}",
        ours=f"{ours}",
        other=f"{allowed} allowed; {naive * _POLLS:,} the naive way",
        ratio=ours / allowed,
        at_most=1,
    )


def _polled(intercom: Sandbox, ruleset_id: str, ids: list[str], max_pending: float) -> tuple[int, Summary]:
    """Poll until it is settled, and once more as the sensor does; return the requests and the last summary."""
    before = _requests(intercom)
    began = time.time()
    wait = DeliveryWait(
        target=RulesetTarget(ruleset_id),
        criteria=Criteria(expected_count=_MESSAGES, max_pending=max_pending),
        started=began,
        deadline=began + 100 * _POLLS * _INTERVAL,
    )
    verdict = "wait"
    with IntercomClient(Settings(token=intercom.connection["password"], base_url=intercom.url)) as client:
        for poll, settling in enumerate(_shares(ids)):
            _settle(intercom, settling)
            now = began + poll * _INTERVAL
            # The first poll is the sensor's, the others are the trigger's, which leaves full polls to the sensor.
            verdict = wait.update(client.run(wait.poll(now, may_stop_early=poll > 0)), now)
            is_settled = (poll + 1) / _POLLS >= 1 - max_pending
            if (verdict == "settled") != is_settled:
                raise AssertionError(f"{verdict} after poll {poll + 1}: {wait.summary}")
            if is_settled:
                break
        # The sensor checks what the trigger found.
        verdict = wait.update(client.run(wait.poll(now, full=True)), now)
    if verdict != "settled" or wait.summary is None:
        raise AssertionError(f"{verdict} in the end: {wait.summary}")
    return _requests(intercom) - before, wait.summary


def _shares(ids: list[str]) -> Iterator[list[str]]:
    """Divide the messages among the polls; each poll finds some more settled, the last one all."""
    for poll in range(_POLLS):
        yield ids[len(ids) * poll // _POLLS : len(ids) * (poll + 1) // _POLLS]


def _settle(intercom: Sandbox, ids: list[str]) -> None:
    with httpx.Client(base_url=intercom.url, trust_env=False) as client:
        for number, message_id in enumerate(ids):
            status = "delivered" if number % 20 else "failed"
            body: dict[str, Any] = {"whatsapp_message_id": message_id, "status": status}
            client.post("/_sandbox/status", json=body).raise_for_status()


def _requests_of_one_pass(intercom: Sandbox, ruleset_id: str) -> tuple[int, tuple[int, int]]:
    """Read the list as a loop does: requests, and how many were delivered and failed."""
    before = _requests(intercom)
    statuses = [event["status"] for event in intercom.events(ruleset_id)]
    return _requests(intercom) - before, (statuses.count("delivered"), statuses.count("failed"))


def _requests(intercom: Sandbox) -> int:
    total: int = intercom.ask("/_sandbox/requests", last=1)["total"]
    return total
