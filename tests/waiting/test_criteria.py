from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.waiting.criteria import Criteria, Growth
from intercom_provider.waiting.statuses import Summary

if TYPE_CHECKING:
    from intercom_provider.fields import WaitFor


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
def test_a_wait_is_settled_when_no_more_messages_are_pending_than_allowed(
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
def test_a_share_of_hundreds_is_exact(percent: int) -> None:
    criteria = Criteria(max_failed=percent / 100)
    for hundreds in (1, 7, 1_000):
        allowed = percent * hundreds
        whole = 100 * hundreds
        assert not criteria.too_many_failed(summary(failed=allowed, delivered=whole - allowed))
        assert criteria.too_many_failed(summary(failed=allowed + 1, delivered=whole - allowed - 1))


def test_growth_keeps_its_time_until_there_are_more_messages() -> None:
    growth = Growth().after(0, 10.0)
    assert growth == Growth(0, 10.0)
    assert growth.after(5, 20.0) == Growth(5, 20.0)
    assert growth.after(5, 20.0).after(5, 30.0) == Growth(5, 20.0)
    assert growth.after(5, 20.0).after(3, 30.0) == Growth(5, 20.0)
    assert growth.after(5, 20.0).after(6, 40.0) == Growth(6, 40.0)


@pytest.mark.parametrize(("wait_for", "reached", "pending"), [("delivered", 5, 1), ("read", 3, 3)])
def test_reached_pending_and_failed_add_up_to_total(wait_for: WaitFor, reached: int, pending: int) -> None:
    counts = Criteria(wait_for=wait_for).counts(summary(sent=1, delivered=2, read=3, failed=1))
    expected = {"total": 7, "reached": reached, "pending": pending, "failed": 1, "delivered": 2, "read": 3}
    assert counts == expected


@pytest.mark.parametrize(
    ("wait_for", "parts"),
    [("delivered", ("6 of 10 settled", "1 still pending")), ("read", ("4 of 10 settled", "3 still pending"))],
)
def test_progress_names_all_counts(wait_for: WaitFor, parts: tuple[str, ...]) -> None:
    line = Criteria(wait_for=wait_for, expected_count=10).progress(summary(sent=1, delivered=2, read=3, failed=1))
    for part in (*parts, "2 delivered", "3 read", "1 failed"):
        assert part in line
