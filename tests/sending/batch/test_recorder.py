"""Record outcomes: which error makes which outcome, and what a line of the results holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from intercom_provider.api.errors import (
    ContactNotFoundError,
    ExpiredError,
    IntercomError,
    InvalidInputError,
    RateLimitedError,
    RefusedError,
    StoppedError,
    UnauthorizedError,
    UnreachableError,
)
from intercom_provider.api.models import Receipt
from intercom_provider.ledger.ledger import Entry
from intercom_provider.results.writer import ResultsWriter
from intercom_provider.sending.batch.input import Item
from intercom_provider.sending.batch.recorder import STOPPED_BEFORE, Recorder
from intercom_provider.sending.batch.try_record import TryRecord

if TYPE_CHECKING:
    from pathlib import Path

ITEM = Item(index=17, number=18, digest="d", message=None, refusal=None, key="k17")


@pytest.mark.parametrize(
    ("error", "outcome", "transient"),
    [
        (UnreachableError("ConnectError: Connection refused"), "not_sent", 1),
        (RateLimitedError(request="POST /messages", status=429), "not_sent", 1),
        (InvalidInputError.of("HTTPS_PROXY", "names no proxy that can be used"), "not_sent", 0),
        (StoppedError("the task was told to stop"), "not_sent", 1),
        (ExpiredError("not_after passed"), "expired", 0),
        (ContactNotFoundError(request="POST /messages", status=404), "rejected", 1),
        (RefusedError(request="POST /messages", status=422), "rejected", 0),
        (UnauthorizedError(request="POST /messages", status=401), "rejected", 0),
    ],
)
def test_an_error_makes_an_outcome_and_may_pass(error: IntercomError, outcome: str, transient: int) -> None:
    record = TryRecord(18)
    counts = record.counts
    Recorder(record, ResultsWriter(None, 1), may_resend=False).add_error(ITEM, error)
    assert (getattr(counts, outcome), counts.done, counts.transient) == (1, 1, transient)
    (reason,) = counts.reasons
    assert counts.first_numbers == {reason: [18]}
    assert (reason == STOPPED_BEFORE) == isinstance(error, StoppedError)


def test_a_line_has_all_ids_of_the_receipt(tmp_path: Path) -> None:
    results = ResultsWriter(str(tmp_path), 1)
    receipt = Receipt(
        outcome="sent", id="4039", conversation_id="2159", whatsapp_message_id="wamid.1", message_type="whatsapp"
    )
    Recorder(TryRecord(18), results, may_resend=False).add_receipt(ITEM, receipt)
    results.close()
    assert json.loads((tmp_path / "try-1-part-1.jsonl").read_text()) == {
        "index": 17,
        "key": "k17",
        "outcome": "sent",
        "id": "4039",
        "conversation_id": "2159",
        "whatsapp_message_id": "wamid.1",
        "reason": None,
    }


@pytest.mark.parametrize(("run", "accepted"), [(None, True), ("welcome, run scheduled, task send", False)])
def test_only_what_this_task_has_sent_shows_that_intercom_accepts_its_messages(run: str | None, accepted: bool) -> None:
    # The template or the sender may have been another one in a campaign's earlier run.
    record = TryRecord(18)
    Recorder(record, ResultsWriter(None, 1), may_resend=False).add_earlier(ITEM, Entry("sent", 1, 0, run=run))
    assert (record.counts.already_sent, record.counts.is_any_accepted) == (1, accepted)


def test_the_rest_is_counted_so_that_the_counts_add_up() -> None:
    record = TryRecord(10)
    counts = record.counts
    counts.sent = 4
    recorder = Recorder(record, ResultsWriter(None, 1), may_resend=False)
    recorder.count_rest()
    recorder.count_rest()
    assert (counts.not_sent, counts.done, counts.reasons[STOPPED_BEFORE]) == (6, 10, 6)
