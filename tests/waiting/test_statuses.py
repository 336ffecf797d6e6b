from __future__ import annotations

import itertools
import random
import tracemalloc
from typing import TYPE_CHECKING, get_args

import pytest

from intercom_provider.waiting.statuses import Status, StatusCounter, Summary, rank_of

if TYPE_CHECKING:
    from collections.abc import Iterable

ORDER: tuple[str, ...] = ("sent", "failed", "delivered", "read")


def counted(seen: Iterable[tuple[str, str]]) -> tuple[StatusCounter, Summary]:
    counter = StatusCounter()
    for message_id, status in seen:
        counter.add(message_id, status)
    return counter, counter.summarize()


def test_statuses_have_an_order() -> None:
    assert [rank_of(status) for status in ORDER] == [0, 1, 2, 3]
    assert set(get_args(Status)) == set(ORDER)
    assert rank_of("opened") == rank_of("") == 0


@pytest.mark.parametrize("statuses", list(itertools.permutations(ORDER, 2)))
def test_a_message_seen_twice_counts_once_with_its_highest_status(statuses: tuple[str, str]) -> None:
    highest = max(statuses, key=ORDER.index)
    _, summary = counted(("wamid.1", status) for status in statuses)
    assert summary == Summary(total=1, **{highest: 1})


@pytest.mark.parametrize("number", [1, 100, 9_999, 10_000, 25_000])
def test_many_messages_at_once_count_as_one_by_one(number: int) -> None:
    seen = [(f"wamid.{n % (number // 2 + 1)}", [*ORDER, "new"][n % 5]) for n in range(number)]
    counter = StatusCounter()
    counter.add_all(*zip(*seen, strict=True))
    counter.add("wamid.0", "read")
    assert counter.summarize() == counted([*seen, ("wamid.0", "read")])[1]
    assert counter.unknown == {status for _, status in seen} - {*ORDER}


def test_no_message_makes_zero_counts() -> None:
    assert counted([])[1] == Summary()


def test_an_unknown_status_counts_as_sent_and_is_kept() -> None:
    counter, summary = counted([("a", "opened"), ("b", "sent"), ("c", "Read"), ("d", "")])
    assert (summary.total, summary.sent) == (4, 4)
    assert counter.unknown == {"opened", "Read", ""}


def test_few_unknown_statuses_are_kept() -> None:
    counter, summary = counted((f"wamid.{n}", f"status-{n}" * 100) for n in range(10_000))
    assert summary.sent == 10_000
    assert len(counter.unknown) <= 100
    assert max(map(len, counter.unknown)) <= 50


@pytest.mark.parametrize("seed", range(6))
def test_counting_agrees_with_a_plain_dictionary(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    seen = [(f"wamid.{chance.randint(0, 400)}", chance.choice([*ORDER, "new"])) for _ in range(1_000)]
    expected: dict[str, str] = {}
    for message_id, status in seen:
        known = status if status in ORDER else "sent"
        expected[message_id] = max(expected.get(message_id, "sent"), known, key=ORDER.index)
    counter, summary = counted(seen)
    assert summary.total == len(expected) == summary.sent + summary.delivered + summary.read + summary.failed
    for status in ORDER:
        assert getattr(summary, status) == list(expected.values()).count(status)
    for message_id, status in expected.items():
        assert counter.counts_as(message_id, status)
        assert not any(counter.counts_as(message_id, other) for other in ORDER if other != status)
        assert counter.claim_once(message_id, status)
        assert not counter.claim_once(message_id, status)
    assert not counter.counts_as("wamid.never", "sent")


def test_counting_200_000_messages_takes_at_most_16_bytes_each() -> None:
    ids = [f"wamid.HBgLNDQ3NzAwOTAwMTIzFQIAERgS{n:09d}" for n in range(200_000)]
    tracemalloc.start()
    try:
        counter = StatusCounter()
        for index, message_id in enumerate(ids):
            counter.add(message_id, ORDER[index % 4])
        summary = counter.summarize()
        assert counter.claim_once(ids[0], "sent")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert summary == Summary(200_000, 50_000, 50_000, 50_000, 50_000)
    assert peak < 16 * 200_000
