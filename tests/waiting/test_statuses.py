from __future__ import annotations

import itertools
import random
import tracemalloc
from typing import TYPE_CHECKING, Any, get_args

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.fields import parse_limit
from intercom_provider.waiting.statuses import Criteria, Growth, Status, StatusCounter, Summary, rank_of

if TYPE_CHECKING:
    from collections.abc import Iterable

ORDER: tuple[str, ...] = ("sent", "failed", "delivered", "read")


def folded(seen: Iterable[tuple[str, str]]) -> tuple[StatusCounter, Summary]:
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
    _, summary = folded(("wamid.1", status) for status in statuses)
    assert summary == Summary(total=1, **{highest: 1})


def test_nothing_is_nothing() -> None:
    assert folded([])[1] == Summary()


def test_an_unknown_status_counts_as_sent_and_is_told() -> None:
    counter, summary = folded([("a", "opened"), ("b", "sent"), ("c", "Read"), ("d", "")])
    assert (summary.total, summary.sent) == (4, 4)
    assert counter.unknown == {"opened", "Read", ""}


def test_statuses_that_are_never_the_same_do_not_fill_the_memory() -> None:
    counter, summary = folded((f"wamid.{n}", f"status-{n}" * 100) for n in range(10_000))
    assert summary.sent == 10_000
    assert len(counter.unknown) <= 100
    assert max(map(len, counter.unknown)) <= 50


@pytest.mark.parametrize("seed", range(6))
def test_counting_agrees_with_a_plain_dictionary(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    seen = [(f"wamid.{chance.randint(0, 400)}", chance.choice([*ORDER, "new"])) for _ in range(1_000)]
    expected: dict[str, str] = {}
    for message_id, status in seen:
        last_statuses = status if status in ORDER else "sent"
        expected[message_id] = max(expected.get(message_id, "sent"), last_statuses, key=ORDER.index)
    counter, summary = folded(seen)
    assert summary.total == len(expected) == summary.sent + summary.delivered + summary.read + summary.failed
    assert summary.reached == summary.delivered + summary.read
    for status in ORDER:
        assert getattr(summary, status) == list(expected.values()).count(status)
    for message_id, status in expected.items():
        assert counter.counts_as(message_id, status)
        assert not any(counter.counts_as(message_id, other) for other in ORDER if other != status)
        assert counter.claim_once(message_id, status)
        assert not counter.claim_once(message_id, status)
    assert not counter.counts_as("wamid.never", "sent")


def test_a_pass_over_200_000_messages_takes_at_most_16_bytes_each() -> None:
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


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        (0, 0), (5, 5), ("0", 0), ("5", 5), (" 5 ", 5), (0.05, 0.05), ("0.05", 0.05), (0.999, 0.999), (None, None),
        (10**30, 10**30),
    ],
)  # fmt: skip
def test_a_limit_is_read(given: object, limit: object) -> None:
    read = parse_limit("max_failed", given)
    assert (read, type(read)) == (limit, type(limit))


@pytest.mark.parametrize(
    "given",
    [True, False, 1.0, 0.0, 1.5, -1, -0.5, "1.0", "0.0", "-1", "many", "", "5%", "nan", "inf", float("nan"),
     float("inf"), [], [5], {}, b"5", "\u00b2", "True"],
)  # fmt: skip
def test_a_limit_out_of_range_is_told(given: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_limit("max_failed", given)
    [problem] = caught.value.problems
    assert problem.field == "max_failed"
    assert "0 and 1" in problem.text


def summary(sent: int = 0, delivered: int = 0, read: int = 0, failed: int = 0) -> Summary:
    return Summary(sent + delivered + read + failed, sent, delivered, read, failed)


def settled(found: Summary, **criteria: Any) -> bool:
    growth = Growth(found.total, since=0.0)
    return Criteria(**{"expected_count": found.total} | criteria).is_settled(found, growth, now=1_000.0)


@pytest.mark.parametrize(
    ("found", "criteria", "is_settled"),
    [
        (summary(delivered=3), {}, True),
        (summary(read=3), {}, True),
        (summary(delivered=2, failed=1), {}, True),
        (summary(delivered=2, sent=1), {}, False),
        (summary(delivered=2, sent=1), {"max_pending": 1}, True),
        (summary(delivered=2, sent=2), {"max_pending": 1}, False),
        (summary(delivered=2, sent=2), {"max_pending": None}, True),
        (summary(delivered=3), {"wait_for": "read"}, False),
        (summary(read=2, failed=1), {"wait_for": "read"}, True),
        (summary(read=2, delivered=1), {"wait_for": "read", "max_pending": 1}, True),
        (summary(delivered=9, sent=1), {"max_pending": 0.1}, True),
        (summary(delivered=8, sent=2), {"max_pending": 0.1}, False),
        (summary(delivered=3), {"expected_count": 4}, False),
        (summary(delivered=3), {"expected_count": 4, "max_pending": None}, False),
        (summary(delivered=5), {"expected_count": 4}, True),
        (summary(), {"expected_count": 0}, True),
        (summary(), {"expected_count": None}, False),
        (summary(delivered=1), {"expected_count": None, "settle_for": 1_000}, True),
        (summary(delivered=1), {"expected_count": None, "settle_for": 1_001}, False),
    ],
)
def test_a_wait_is_settled_when_nothing_is_on_its_way(
    found: Summary, criteria: dict[str, Any], is_settled: bool
) -> None:
    assert settled(found, **criteria) == is_settled


@pytest.mark.parametrize(
    ("found", "criteria", "too_many"),
    [
        (summary(failed=0), {}, False),
        (summary(failed=1), {}, True),
        (summary(failed=2), {"max_failed": 2}, False),
        (summary(failed=3), {"max_failed": 2}, True),
        (summary(failed=3), {"max_failed": None}, False),
        (summary(delivered=95, failed=5), {"max_failed": 0.05}, False),
        (summary(delivered=94, failed=6), {"max_failed": 0.05}, True),
        (summary(delivered=1, failed=1), {"max_failed": 0.05, "expected_count": 20}, False),
        (summary(failed=2), {"max_failed": 0.05, "expected_count": 20}, True),
    ],
)
def test_failures_are_judged_by_a_number_or_a_share(found: Summary, criteria: dict[str, Any], too_many: bool) -> None:
    assert Criteria(**criteria).too_many_failed(found) == too_many


@pytest.mark.parametrize("percent", range(1, 100))
def test_a_share_of_a_hundred_is_as_many_as_it_says(percent: int) -> None:
    criteria = Criteria(max_failed=percent / 100)
    for hundreds in (1, 7, 1_000):
        allowed = percent * hundreds
        whole = 100 * hundreds
        assert not criteria.too_many_failed(summary(failed=allowed, delivered=whole - allowed))
        assert criteria.too_many_failed(summary(failed=allowed + 1, delivered=whole - allowed - 1))


def test_what_has_not_grown_keeps_its_time() -> None:
    growth = Growth().after(0, 10.0)
    assert growth == Growth(0, 10.0)
    assert growth.after(5, 20.0) == Growth(5, 20.0)
    assert growth.after(5, 20.0).after(5, 30.0) == Growth(5, 20.0)
    assert growth.after(5, 20.0).after(3, 30.0) == Growth(5, 20.0)
    assert growth.after(5, 20.0).after(6, 40.0) == Growth(6, 40.0)


def test_progress_says_how_many_and_how_far() -> None:
    line = Criteria(expected_count=10).progress(summary(sent=1, delivered=2, read=3, failed=1))
    for part in ("6 of 10 settled", "2 delivered", "3 read", "1 failed", "1 still sent"):
        assert part in line
