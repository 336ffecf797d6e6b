"""How many requests polls of a ruleset's list take, counted at the sandbox; the test sets the clock."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.errors import IntercomError
from intercom_provider.waiting.list_position import MAX_PARTIAL_POLLS
from intercom_provider.waiting.poll import FullPoll
from intercom_provider.waiting.statuses import Summary
from intercom_provider.waiting.target import RulesetTarget
from tests.support import hostile
from tests.support.hostile import Hostile
from tests.waiting.polled_wait import PolledWait

if TYPE_CHECKING:
    from collections.abc import Callable

    from intercom_provider.sandbox import Sandbox


def ruleset(sandbox: Sandbox, pages: int, status: str = "sent") -> list[str]:
    ids = [f"wamid.{number}=" for number in range(100 * pages)]
    sandbox.add_ruleset("7", events=[{"whatsapp_message_id": each, "status": status} for each in ids])
    return ids


def waiting(sandbox: Sandbox | Hostile, **criteria: Any) -> PolledWait:
    return PolledWait(sandbox, RulesetTarget("7"), **criteria)


ORDERS: dict[str, Callable[[list[str]], list[str]]] = {
    "front to back": list,
    "back to front": lambda ids: ids[::-1],
    "at random": lambda ids: random.Random(1).sample(ids, len(ids)),  # noqa: S311
    "on all pages alike": lambda ids: sorted(ids, key=lambda each: int(each[6:-1]) % 100),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("off", [0, 1], ids=["all settle", "one on page 1 never settles"])
def test_a_long_list_costs_a_request_a_poll_and_three_full_polls(sandbox: Sandbox, order: str, off: int) -> None:
    pages, polls = (100, 30) if (order, off) == ("at random", 0) else (25, 15)
    ids = ruleset(sandbox, pages)
    wait = waiting(sandbox, expected_count=len(ids), max_pending=off, deferrable=order != "back to front")
    assert wait.poll() == "wait"
    settling = [each for each in ORDERS[order](ids) if not off or each != ids[3]]
    for number in range(polls):
        for each in settling[len(settling) * number // polls : len(settling) * (number + 1) // polls]:
            sandbox.set_status(each, "failed" if each.endswith("7=") else "delivered")
        verdict = wait.poll()
        assert len(json.dumps(wait.state)) < 8_000
    # When several pages are waited for, the last one may be read a poll later.
    if off and verdict == "wait":
        verdict = wait.poll()
    assert verdict == "settled"
    assert wait.requests <= polls + 3 * pages
    failed = len(ids) // 10
    assert wait.summary == Summary(total=len(ids), sent=off, delivered=len(ids) - failed - off, failed=failed)


@pytest.mark.parametrize("order", ORDERS)
def test_max_pending_is_not_waited_for_and_costs_few_requests(sandbox: Sandbox, order: str) -> None:
    ids = ruleset(sandbox, 25)
    wait = waiting(sandbox, expected_count=2_500, max_pending=0.05)
    wait.poll()
    never = set(ids[:20]) | set(ids[20::25])
    settling = [each for each in ORDERS[order](ids) if each not in never]
    for number in range(15):
        for each in settling[len(settling) * number // 15 : len(settling) * (number + 1) // 15]:
            sandbox.set_status(each, "read")
        wait.poll()
    polls = 0
    while not isinstance(wait.found, FullPoll) and polls < 10:
        polls += 1
        wait.poll()
    assert wait.summary == Summary(total=2_500, sent=len(never), read=2_500 - len(never))
    assert wait.requests <= 5 * 25 + 15


def test_a_list_of_twenty_pages_is_read_in_full_at_every_poll(sandbox: Sandbox) -> None:
    ruleset(sandbox, 20)
    wait = waiting(sandbox, expected_count=2_000)
    for _ in range(3):
        assert wait.poll() == "wait"
        assert wait.requests == 20
        assert wait.progress_values["as_of"] == wait.now


def test_the_log_names_the_page_that_is_waited_for_and_the_age_of_the_counts(sandbox: Sandbox) -> None:
    ids = ruleset(sandbox, 25)
    wait = waiting(sandbox, expected_count=2_500)
    wait.poll()
    counted_at = wait.now
    for each in ids[:1_250]:
        sandbox.set_status(each, "delivered")
    wait.poll()
    assert wait.line == (
        "WhatsApp ruleset 7: pages 1-12 of 25 settled; waiting on page 13; the last full poll, 60 s ago, saw "
        "0 of 2500 settled (0 delivered, 0 read, 0 failed), 2500 still pending"
    )
    assert wait.progress_values == {
        "total": 2_500,
        "reached": 0,
        "pending": 2_500,
        "failed": 0,
        "delivered": 0,
        "read": 0,
        "as_of": counted_at,
        "waiting_on_page": 13,
    }


def test_a_message_that_never_settles_costs_a_request_a_poll_and_a_full_poll_in_a_hundred(sandbox: Sandbox) -> None:
    ids = ruleset(sandbox, 21, "read")
    sandbox.set_status(ids[5], "sent")
    wait = waiting(sandbox, expected_count=2_100)
    assert wait.poll() == "wait"
    assert wait.requests == 21
    assert {wait.poll() for _ in range(MAX_PARTIAL_POLLS)} == {"wait"}
    assert wait.requests == MAX_PARTIAL_POLLS
    assert "waiting on page 1 of 21" in wait.line
    wait.poll()
    assert wait.requests == 21


@pytest.mark.parametrize("settle_for", [0.5, 1_800, 86_400])
def test_the_log_shows_settle_for_as_it_was_given(sandbox: Sandbox, settle_for: float) -> None:
    ruleset(sandbox, 1, "read")
    wait = waiting(sandbox, settle_for=settle_for)
    assert wait.poll() == "wait"
    assert f"no growth for 0 of {settle_for} s" in wait.line


def test_while_a_list_grows_a_poll_costs_one_request(sandbox: Sandbox) -> None:
    ruleset(sandbox, 21, "read")
    wait = waiting(sandbox, settle_for=300)
    assert wait.poll() == "wait"
    assert wait.requests == 21
    for _ in range(5):
        sandbox.add_ruleset("7", events=[{"status": "sent"}])
        assert wait.poll() == "wait"
        assert wait.requests == 1
    assert "no growth for 0 of 300 s" in wait.line
    for _ in range(4):
        assert wait.poll() == "wait"
    assert wait.requests == 4
    # It has not grown for long enough, so a full poll finds the new messages.
    assert wait.poll() == "wait"
    assert wait.requests == 1 + 22
    assert wait.summary == Summary(total=2_105, sent=5, read=2_100)
    assert wait.poll() == "wait"
    assert wait.requests == 1
    assert "pages 1-21 of 22 settled; waiting on page 22" in wait.line


def test_missing_messages_are_waited_for_with_one_request_a_poll(sandbox: Sandbox) -> None:
    ruleset(sandbox, 21, "read")
    wait = waiting(sandbox, expected_count=2_101)
    for _ in range(3):
        assert wait.poll() == "wait"
    assert wait.requests == 21 + 2
    assert "2100 of 2101 messages are there" in wait.line
    sandbox.add_ruleset("7", events=[{"status": "failed"}])
    assert wait.poll() == "settled"
    assert wait.summary == Summary(total=2_101, read=2_100, failed=1)


def test_only_events_after_created_after_are_waited_for(sandbox: Sandbox) -> None:
    old = [{"whatsapp_message_id": f"wamid.old{n}=", "status": "sent", "created_at": 1_000} for n in range(2_050)]
    new = [{"whatsapp_message_id": f"wamid.new{n}=", "status": "sent", "created_at": 3_000} for n in range(100)]
    sandbox.add_ruleset("7", events=[*old, *new])
    wait = PolledWait(sandbox, RulesetTarget("7", created_after=2_000), settle_for=60)
    wait.poll()
    assert wait.poll() == "wait"
    assert wait.requests == 22 + 1
    for n in range(100):
        sandbox.set_status(f"wamid.new{n}=", "delivered")
    assert wait.poll() == "settled"
    assert wait.summary == Summary(total=100, delivered=100)


@pytest.mark.parametrize("since", [2_000, 2_000.0, 2_000.25, 2_000.999])
def test_an_event_of_the_second_of_created_after_counts(sandbox: Sandbox, since: float) -> None:
    times = {"wamid.before": 1_999, "wamid.same": 2_000, "wamid.after": 2_001}
    events = [{"whatsapp_message_id": name, "status": "read", "created_at": at} for name, at in times.items()]
    sandbox.add_ruleset("7", events=events)
    wait = PolledWait(sandbox, RulesetTarget("7", created_after=since), expected_count=2)
    assert wait.poll() == "settled"
    assert wait.summary == Summary(total=2, read=2)


def test_a_message_that_moves_while_the_list_is_read_is_not_lost_with_created_after() -> None:
    old, first = hostile.event("wamid.1", "read", created_at=1_000), hostile.event("wamid.2", "read", created_at=3_000)
    moved = hostile.event("wamid.3", "failed", created_at=3_000)
    with Hostile() as server:
        # The last one moves to the top, which was read before, and pushes another one down to be read twice.
        for events, cursor in (([old, first], "2"), ([first], None)):
            pages = {"type": "pages", "next": {"starting_after": cursor} if cursor else None}
            listed = {"type": "list", "pages": pages, "total_count": 3, "events": events}
            server.script(hostile.answer(200, listed))
        server.pages = [[moved, old, first]]
        wait = PolledWait(server, RulesetTarget("7", created_after=2_000))
        assert wait.poll() == "wait"
        assert wait.poll() == "settled"
        assert wait.summary == Summary(total=2, read=1, failed=1)


def test_a_message_that_is_listed_twice_is_not_waited_for(sandbox: Sandbox) -> None:
    ids = ruleset(sandbox, 21, "read")
    sandbox.set_status(ids[2_000], "sent")
    again = {"whatsapp_message_id": ids[0], "status": "sent"}
    sandbox.add_ruleset("7", events=[again])
    wait = waiting(sandbox, expected_count=2_100)
    assert wait.poll() == "wait"
    sandbox.set_status(ids[2_000], "read")
    # Shorter than announced, but two full polls agree.
    assert wait.poll() == "settled"
    assert wait.summary == Summary(total=2_100, read=2_100)


@pytest.mark.parametrize("break_it", ["other target", "empty", "no number", "no state", "no cursor", "another field"])
def test_a_position_that_cannot_be_used_leads_to_a_full_poll(sandbox: Sandbox, break_it: str) -> None:
    ruleset(sandbox, 21)
    wait = waiting(sandbox, expected_count=2_100)
    wait.poll()
    position = wait.state["target"]["position"]
    if break_it == "other target":
        wait.target = RulesetTarget("7", created_after=1.0)
    elif break_it == "empty":
        wait.state["target"]["position"] = {}
    elif break_it == "no number":
        wait.state["target"]["position"] = {**position, "pages": "many"}
    elif break_it == "no state":
        wait.state["target"] = None
    elif break_it == "no cursor":
        wait.state["target"]["position"] = {**position, "cursor": None}
    else:
        wait.state["target"]["position"] = {**position, "marks": 3}
    assert wait.requests == 21
    assert wait.poll() == "wait"
    assert wait.requests == 21
    assert wait.state["target"]["position"] == position


@pytest.mark.parametrize("status", [400, 404])
def test_a_refused_cursor_leads_to_a_full_poll(status: int) -> None:
    with Hostile() as server:
        server.pages = [[hostile.event(f"wamid.{page}", "sent")] for page in range(21)]
        wait = waiting(server, expected_count=21)
        wait.poll()
        server.pages[0] = [hostile.event("wamid.0", "read")]
        wait.poll()
        assert wait.requests == 21 + 2
        server.script(hostile.error(status, "parameter_invalid"))
        assert wait.poll() == "wait"
        assert wait.requests == 1 + 21
        assert wait.summary == Summary(total=21, sent=20, read=1)


def test_a_partial_poll_that_fails_for_a_transient_reason_does_not_lead_to_a_full_poll() -> None:
    with Hostile() as server:
        server.pages = [[hostile.event(f"wamid.{page}", "sent")] for page in range(21)]
        wait = waiting(server, expected_count=21)
        wait.poll()
        server.script(hostile.error(500, "server_error"))
        assert [wait.poll(), wait.poll()] == ["wait", "wait"]
        assert wait.requests == 21 + 2


def test_a_wrong_token_ends_a_partial_poll_with_intercoms_words() -> None:
    with Hostile() as server:
        server.pages = [[hostile.event(f"wamid.{page}", "sent")] for page in range(21)]
        wait = waiting(server, expected_count=21)
        wait.poll()
        server.always(hostile.error(401, "token_revoked"))
        with pytest.raises(IntercomError, match="token_revoked"):
            wait.poll()


@pytest.mark.parametrize(("size", "is_kept"), [(100, True), (3_000, False)])
def test_a_cursor_is_kept_unless_it_is_too_long_for_a_triggers_state(size: int, *, is_kept: bool) -> None:
    with Hostile() as server:
        server.cursor_size = size
        server.pages = [[hostile.event(f"wamid.{page}", "sent" if page else "read")] for page in range(21)]
        wait = waiting(server, expected_count=21)
        assert [wait.poll(), wait.poll()] == ["wait", "wait"]
        assert wait.requests == (21 + 1 if is_kept else 21 + 21)
        assert len(json.dumps(wait.state)) < 8_000


@pytest.mark.parametrize("order", ORDERS)
def test_what_never_settles_is_left_behind_and_not_read_again(sandbox: Sandbox, order: str) -> None:
    ids = ruleset(sandbox, 25)
    never = set(ids[:20])
    wait = waiting(sandbox, expected_count=2_500, max_pending=20)
    assert wait.poll() == "wait"
    settling = [each for each in ORDERS[order](ids) if each not in never]
    for number in range(15):
        for each in settling[len(settling) * number // 15 : len(settling) * (number + 1) // 15]:
            sandbox.set_status(each, "read")
        verdict = wait.poll()
    assert verdict == "settled"
    assert wait.requests <= 15 + 3 * 25 + 15


def test_messages_that_are_pending_again_on_a_page_before_keep_the_wait_from_ending(sandbox: Sandbox) -> None:
    # Pages may move: what a partial poll believes to be settled, a full poll judges.
    ids = ruleset(sandbox, 25, "read")
    for each in ids[1_200:1_300]:
        sandbox.set_status(each, "sent")
    wait = waiting(sandbox, expected_count=2_500)
    assert [wait.poll(), wait.poll()] == ["wait", "wait"]
    assert wait.requests == 25 + 1
    for number in range(100):
        sandbox.set_status(ids[1_200 + number], "read")
        sandbox.set_status(ids[number], "sent")
    assert wait.poll() == "wait"
    assert wait.summary == Summary(total=2_500, sent=100, read=2_400)
    for each in ids[:100]:
        sandbox.set_status(each, "read")
    assert wait.poll() == "settled"
