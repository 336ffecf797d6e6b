"""The demo reports every difference between the counts of Airflow and of the sandbox."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demo.__main__ import Chapter, Deliveries

COUNTS = Deliveries.of(["delivered", "read", "failed"], ["403900001"])


def test_equal_counts_have_no_mismatch() -> None:
    assert Chapter("Campaign", COUNTS, COUNTS).mismatches() == []


def test_unknown_statuses_are_pending() -> None:
    assert Deliveries.of(["sent", "paused"], []) == Deliveries(2, 0, 0, 2, frozenset())


@pytest.mark.parametrize(
    ("reported", "sentence"),
    [
        (replace(COUNTS, arrived=1, pending=1), "Campaign: arrived: Airflow says 1, Intercom says 2"),
        (replace(COUNTS, messages=4), "Campaign: Airflow's counts add up to 3, not to 4"),
        (replace(COUNTS, emails=frozenset()), "Campaign: emails that only one of them has: 403900001"),
        (replace(COUNTS, emails=frozenset({"403900002"})), "emails that only one of them has: 403900001, 403900002"),
    ],
)
def test_different_counts_are_a_mismatch(reported: Deliveries, sentence: str) -> None:
    assert sentence in "\n".join(Chapter("Campaign", reported, COUNTS).mismatches())


def test_a_failed_message_without_an_email_is_a_mismatch() -> None:
    without_email = replace(COUNTS, emails=frozenset())
    assert Chapter("Campaign", without_email, without_email).mismatches() == [
        "Campaign: 1 failed, and 0 emails were sent"
    ]
