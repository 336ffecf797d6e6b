"""The demo must not say that numbers agree which do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demo.__main__ import Chapter, Deliveries

TOLD = Deliveries.of(["delivered", "read", "failed"], ["403900001"])


def test_two_accounts_that_agree_are_not_wrong() -> None:
    assert Chapter("Campaign", TOLD, TOLD).wrong() == []


def test_unknown_statuses_are_pending() -> None:
    assert Deliveries.of(["sent", "paused"], []) == Deliveries(2, 0, 0, 2, frozenset())


@pytest.mark.parametrize(
    ("reported", "said"),
    [
        (replace(TOLD, arrived=1, pending=1), "Campaign: arrived: Airflow says 1, Intercom says 2"),
        (replace(TOLD, messages=4), "Campaign: what Airflow reports adds up to 3, not to 4"),
        (replace(TOLD, emails=frozenset()), "Campaign: emails that only one of them knows: 403900001"),
        (replace(TOLD, emails=frozenset({"403900002"})), "emails that only one of them knows: 403900001, 403900002"),
    ],
)
def test_an_account_that_differs_is_wrong(reported: Deliveries, said: str) -> None:
    assert said in "\n".join(Chapter("Campaign", reported, TOLD).wrong())


def test_whoever_failed_must_have_been_emailed() -> None:
    forgotten = replace(TOLD, emails=frozenset())
    assert Chapter("Campaign", forgotten, forgotten).wrong() == ["Campaign: 1 failed, and 0 emails were sent"]
