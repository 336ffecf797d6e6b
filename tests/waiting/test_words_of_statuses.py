"""What the words of statuses mean, and what the log says of entries and totals that do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.waiting.statuses import Summary
from intercom_provider.waiting.target import MessagesTarget, RulesetTarget
from tests.support.hostile import Hostile, answer, event
from tests.waiting.polled_wait import PolledWait

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with Hostile() as server:
        yield server


def ruleset(server: Hostile, events: list[Any], count: int, **more: Any) -> PolledWait:
    server.always(answer(200, {"type": "list", "events": events, **more}), "/messages/status")
    return PolledWait(server, RulesetTarget("77"), expected_count=count)


@pytest.mark.parametrize("word", ["undelivered", "Undeliverable", "deleted", "EXPIRED", " rejected ", "canceled"])
def test_a_status_that_says_that_a_message_never_arrives_is_failed_with_the_word(hostile: Hostile, word: str) -> None:
    wait = ruleset(hostile, [event("wamid.1", word), event("wamid.2", "read")], 2)
    assert wait.poll(full=True) == "settled"
    assert wait.summary == Summary(total=2, read=1, failed=1)
    assert (wait.seen[0].status, wait.seen[0].reason) == ("failed", f"the status is {word.strip().lower()!r}")
    hostile.always(answer(200, {"status": word, "error": {"message": "No phone"}}), "/messages/whatsapp/status")
    single = PolledWait(hostile, MessagesTarget(("wamid.1",)), expected_count=1)
    assert single.poll(full=True) == "settled"
    assert single.seen[0].reason == f"the status is {word.strip().lower()!r}: No phone"


@pytest.mark.parametrize("word", ["queued", "accepted", "pending", "", None])
def test_any_other_word_is_pending(hostile: Hostile, word: str | None) -> None:
    wait = ruleset(hostile, [event("wamid.1", "x") | {"status": word}, event("wamid.2", "read")], 2)
    assert wait.poll(full=True) == "wait"
    assert wait.summary == Summary(total=2, read=1, sent=1)


@pytest.mark.parametrize("word", ["Delivered", "READ", " failed"])
def test_a_known_status_may_be_spelled_in_any_case(hostile: Hostile, word: str) -> None:
    wait = ruleset(hostile, [event("wamid.1", word)], 1)
    assert wait.poll(full=True) == "settled"
    assert not wait.found.counter.unknown  # type: ignore[union-attr]


def test_a_list_shows_an_observer_whole_events_with_the_statuses_that_it_wants(hostile: Hostile) -> None:
    events = [
        {"whatsapp_message_id": "wamid.1", "status": "read", "user_id": "u-1"},
        {"whatsapp_message_id": "wamid.2", "status": "expired", "user_id": "u-2"},
        {
            "whatsapp_message_id": "wamid.3",
            "status": "failed",
            "conversation_id": 5,
            "updated_at": 7,
            "created_at": 9,
        },
        {"whatsapp_message_id": "wamid.4", "status": "failed", "user_id": "u-4", "created_at": 8},
    ]
    hostile.always(answer(200, {"type": "list", "events": events}), "/messages/status")
    wait = PolledWait(hostile, RulesetTarget("77", created_after=9.5), expected_count=3)
    wait.wants = lambda status: status == "failed"
    assert wait.poll(full=True) == "settled"
    assert [tuple(each) for each in wait.seen] == [
        ("wamid.2", "failed", None, "u-2", "the status is 'expired'", None, None),
        ("wamid.3", "failed", "5", None, None, None, 7),
    ]
    assert (wait.summary.total, wait.summary.failed, wait.summary.read) == (3, 2, 1)


def test_entries_that_cannot_be_read_are_counted_and_named_in_the_log_once(
    hostile: Hostile, caplog: pytest.LogCaptureFixture
) -> None:
    wait = ruleset(hostile, [None, event("wamid.1", "read"), {"status": "read"}], 1)
    assert wait.poll(full=True) == "settled"
    assert caplog.text.count("2 entries of the list cannot be read") == 1
    assert "2 entries of the list cannot be read" in wait.line


@pytest.mark.parametrize(
    ("total", "said"),
    [
        (3, "2 of 3 in the list"),
        (1, "2 in the list, though Intercom announces 1"),
        (0, "announces 0"),
        (2, ""),
        ("2", ""),
    ],
)
def test_a_total_that_differs_is_in_the_line_of_the_log(hostile: Hostile, total: object, said: str) -> None:
    wait = ruleset(hostile, [event("wamid.1", "read"), event("wamid.2", "sent")], 2, total_count=total)
    wait.poll(full=True)
    assert said in wait.line
    assert bool(said) == (" in the list" in wait.line)
