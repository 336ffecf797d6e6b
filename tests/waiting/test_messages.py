"""How many requests polls of single messages take, counted at the sandbox; the test sets the clock."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.parallel import MAX_UNTAKEN_RESULTS
from intercom_provider.waiting.messages import LastStatuses
from intercom_provider.waiting.statuses import Summary
from intercom_provider.waiting.target import MessagesTarget
from tests.waiting.polled_wait import PolledWait

if TYPE_CHECKING:
    from intercom_provider.sandbox import Sandbox

IDS = tuple(f"wamid.{number:03d}=" for number in range(250))


def asked_for(sandbox: Sandbox, since: int = 0) -> list[str]:
    """Return for which messages there were requests, sorted, as parallel ones arrive in any order."""
    return sorted(request.params["message_id"] for request in sandbox.requests[since:])


def messages(sandbox: Sandbox, **criteria: Any) -> PolledWait:
    sandbox.add_ruleset("7", events=[{"whatsapp_message_id": each, "status": "sent"} for each in IDS])
    return PolledWait(sandbox, MessagesTarget(IDS, never_sent=1), expected_count=251, **criteria)


def test_a_poll_ends_after_max_pending_a_poll_and_the_next_goes_on_from_there(
    sandbox: Sandbox,
) -> None:
    wait = messages(sandbox)
    wait.max_pending_a_poll = 20
    total = 0
    for _ in range(25):
        assert wait.poll() == "wait"
        asked = wait.requests
        # Some more requests are in flight by then.
        assert 20 <= asked <= 20 + MAX_UNTAKEN_RESULTS
        assert f"; {250 - asked} of them not asked for this time" in wait.line or asked == 250
        total += asked
    often = Counter(asked_for(sandbox)).values()
    assert sum(often) == total >= 500
    assert max(often) - min(often) <= 1
    assert len(json.dumps(wait.state)) < 1_000


def test_a_message_that_has_settled_is_not_asked_for_again(sandbox: Sandbox) -> None:
    wait = messages(sandbox, max_pending=20)
    for each in IDS[:200]:
        sandbox.set_status(each, "read" if each < "wamid.100" else "failed")
    assert wait.poll() == "wait"
    assert wait.requests == 250
    assert wait.poll() == "wait"
    assert asked_for(sandbox, 250) == [*IDS[200:]]
    assert wait.requests == 50
    for each in IDS[200:235]:
        sandbox.set_status(each, "delivered")
    assert wait.poll() == "settled"
    assert asked_for(sandbox, 300) == sorted([*IDS[200:], *IDS[235:]])
    assert wait.summary == Summary(total=251, sent=15, delivered=35, read=100, failed=101)
    assert sorted(each.whatsapp_message_id for each in wait.seen) == list(IDS)
    assert {each.status for each in wait.seen if each.whatsapp_message_id < "wamid.200"} == {"read", "failed"}


def test_the_first_poll_sees_all_messages_when_many_have_settled(sandbox: Sandbox) -> None:
    wait = messages(sandbox)
    for each in IDS:
        sandbox.set_status(each, "delivered")
    assert wait.poll() == "settled"
    assert wait.requests == 250
    assert [each.whatsapp_message_id for each in wait.seen] == list(IDS)


def test_read_may_follow_delivered_and_no_status_goes_back(sandbox: Sandbox) -> None:
    sandbox.add_ruleset("7", events=[{"whatsapp_message_id": each, "status": "delivered"} for each in IDS[:2]])
    wait = PolledWait(sandbox, MessagesTarget(IDS[:2]), expected_count=2, wait_for="read")
    assert wait.poll() == "wait"
    sandbox.set_status(IDS[0], "read")
    sandbox.set_status(IDS[1], "sent")
    assert wait.poll() == "wait"
    assert wait.progress_values["delivered"] == wait.progress_values["read"] == 1
    assert asked_for(sandbox, 2) == [*IDS[:2]]
    assert wait.poll() == "wait"
    assert asked_for(sandbox, 4) == [IDS[1]]


def test_messages_whose_details_are_needed_are_asked_for_again_in_the_end(sandbox: Sandbox) -> None:
    wait = messages(sandbox)
    wait.needs_details = lambda status: status == "failed"
    for each in IDS[1:]:
        sandbox.set_status(each, "delivered")
    sandbox.set_status(IDS[1], "failed", error={"message": "No phone", "details": "470"})
    assert wait.poll() == "wait"
    sandbox.set_status(IDS[0], "delivered")
    assert wait.poll() == "settled"
    assert asked_for(sandbox, 250) == [IDS[0], IDS[1]]
    assert wait.seen[1].reason == "No phone: 470"


def test_the_state_of_a_hundred_thousand_messages_is_small() -> None:
    last_statuses = LastStatuses(bytearray(100_000))
    chance = random.Random(1)  # noqa: S311 - no secret
    for index, status in enumerate(chance.choices(("sent", "delivered", "read", "failed"), (10, 30, 55, 5), k=100_000)):
        last_statuses.update(index, status)
    stored = json.dumps(last_statuses.state())
    # Airflow's task state store takes 64 KB.
    assert len(stored) < 40_000
    assert LastStatuses.resume(json.loads(stored), 100_000) == last_statuses


@pytest.mark.parametrize(
    "last_statuses",
    [
        None,
        {},
        {"ranks": "00", "next": 0},
        {"ranks": "not of this alphabet!", "next": 0},
        {"ranks": b64encode(b"\0" * 250).decode(), "next": 0},
        {"ranks": LastStatuses(bytearray(b"\x04" * 250)).state()["ranks"], "next": 0},
        {"ranks": LastStatuses(bytearray(251)).state()["ranks"], "next": 0},
    ],
)
def test_statuses_of_other_messages_are_ignored(sandbox: Sandbox, last_statuses: Any) -> None:
    wait = messages(sandbox)
    for each in IDS:
        sandbox.set_status(each, "failed")
    sandbox.set_status(IDS[7], "sent")
    wait.poll()
    wait.state["target"]["last_statuses"] = last_statuses
    assert wait.requests == 250
    wait.poll()
    assert wait.requests == 250
