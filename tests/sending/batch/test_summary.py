"""The summary of a batch: whether it failed, and the words of its error and its log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.errors import UnreachableError
from intercom_provider.compat import AirflowException
from intercom_provider.exceptions import DeliveryFailedError
from intercom_provider.results.writer import ResultsWriter
from intercom_provider.sending.batch.counts import MAX_REASONS, Counts
from intercom_provider.sending.batch.summary import BatchSummary

if TYPE_CHECKING:
    from intercom_provider.fields import Limit

REFUSED = "Intercom answered 422 parameter_invalid to POST /messages: Body is required"


def summary_of(counts: Counts, *, max_failed: Limit = 0, on_unconfirmed: str = "fail") -> BatchSummary:
    return BatchSummary(
        counts, ResultsWriter(None, 1), max_failed=max_failed, on_unconfirmed=on_unconfirmed, numbered_by="line"
    )


def failed(**numbers: int) -> Counts:
    counts = Counts(total=10)
    line = 0
    for outcome, number in numbers.items():
        for _ in range(number):
            line += 1
            counts.add(outcome, reason=REFUSED if outcome == "rejected" else f"why it is {outcome}", number=line)
    counts.add("sent", count=10 - counts.done)
    return counts


@pytest.mark.parametrize("outcome", ["rejected", "not_sent", "expired", "unconfirmed"])
def test_max_failed_limits_every_outcome_that_is_a_failure(outcome: str) -> None:
    with pytest.raises(DeliveryFailedError):
        summary_of(failed(**{outcome: 2}), max_failed=1).raise_failure(None)
    for max_failed in (2, 0.2, None):
        summary_of(failed(**{outcome: 2}), max_failed=max_failed).raise_failure(None)


@pytest.mark.parametrize("outcome", ["already_sent", "claimed", "suppressed", "duplicates", "dry_run"])
def test_other_outcomes_are_not_failures(outcome: str) -> None:
    summary_of(failed(**{outcome: 2})).raise_failure(None)


def test_assumed_to_be_sent_the_unconfirmed_are_not_failures() -> None:
    summary_of(failed(unconfirmed=2), on_unconfirmed="assume_sent").raise_failure(None)


def test_airflow_retries_a_batch_of_which_a_retry_may_send_some() -> None:
    counts = failed(rejected=1, not_sent=1)
    counts.transient = 1
    with pytest.raises(AirflowException, match="1 may well go out with a retry") as caught:
        summary_of(counts).raise_failure(None)
    assert not isinstance(caught.value, DeliveryFailedError)


def test_the_error_that_stopped_a_batch_is_its_failure() -> None:
    with pytest.raises(UnreachableError, match="an outage"):
        summary_of(failed()).raise_failure(UnreachableError("an outage"))


def test_the_first_hundred_characters_of_the_error_name_the_cause() -> None:
    with pytest.raises(DeliveryFailedError) as caught:
        summary_of(failed(rejected=2, unconfirmed=1)).raise_failure(None)
    assert str(caught.value)[:100].startswith("3 of 10 messages failed: 2 x Intercom answered 422 parameter_invalid to")
    assert "(7 sent, 2 rejected, 1 unconfirmed; max_failed allows 0)" in str(caught.value)


def test_the_log_has_a_line_for_each_reason_with_the_first_positions(caplog: pytest.LogCaptureFixture) -> None:
    summary = summary_of(failed(rejected=5, unconfirmed=1))
    with pytest.raises(DeliveryFailedError) as caught:
        summary.raise_failure(None)
    summary.log_failure(caught.value)
    assert caplog.messages[:4] == [
        "The batch failed: 6 of 10 messages failed",
        "  4 sent, 5 rejected, 1 unconfirmed of 10; max_failed allows 0",
        f"  5 x {REFUSED} (line 1, 2, 3, ...)",
        "  1 x why it is unconfirmed (line 6)",
    ]
    assert 'on_unconfirmed="resend"' in caplog.messages[4]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


def test_a_batch_that_was_stopped_logs_the_cause_first(caplog: pytest.LogCaptureFixture) -> None:
    counts = Counts(total=10, sent=3)
    counts.add("not_sent", reason="the batch stopped", count=7)
    summary_of(counts).log_failure(TimeoutError("Timeout, PID: 7"))
    assert caplog.messages == [
        "The batch failed: Timeout, PID: 7",
        "  3 sent, 7 not sent of 10; max_failed allows 0",
        "  7 x the batch stopped",
    ]


def test_no_more_than_ten_reasons_are_named() -> None:
    counts = Counts(total=20)
    for number in range(20):
        counts.add("rejected", reason=f"reason {number}")
    values: dict[str, Any] = summary_of(counts).values()
    assert len(values["reasons"]) == MAX_REASONS
    assert (values["results_path"], values["results_try"]) == (None, None)
