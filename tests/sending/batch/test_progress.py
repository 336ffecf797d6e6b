"""The progress of a batch, published while it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from intercom_provider.sending.batch.counts import Counts
from intercom_provider.sending.batch.progress import ProgressLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


def test_the_counts_are_published_with_their_total_and_time() -> None:
    counts = Counts(total=20)
    counts.sent, counts.rejected = 7, 1
    published: list[Mapping[str, float]] = []
    before = time.time()
    ProgressLog(counts, published.append).write(delayed=0)
    (values,) = published
    assert (values["total"], values["sent"], values["rejected"], values["not_sent"]) == (20, 7, 1, 0)
    assert before <= values["as_of"] <= time.time()
    assert "whatsapp_message_ids" not in values


def test_the_counts_are_published_less_often_than_they_are_logged_and_not_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    published: list[Mapping[str, float]] = []
    progress = ProgressLog(Counts(total=20), published.append, 3600)
    with caplog.at_level("INFO"):
        for _ in range(3):
            progress.write(delayed=0)
        ProgressLog(Counts(total=20), published.append).write(delayed=0, is_over=True)
    assert len(caplog.records) == 4
    assert len(published) == 1


def test_a_failure_to_publish_is_a_warning_and_the_last_attempt(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[float] = []

    def fail(values: Mapping[str, float]) -> None:
        calls.append(values["total"])
        raise RuntimeError("the API server is away")

    progress = ProgressLog(Counts(total=20), fail, 0)
    for _ in range(3):
        progress.write(delayed=0)
    assert calls == [20]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning == "The progress cannot be shown while the batch runs: RuntimeError"


def test_slow_publishing_holds_a_batch_up_once(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[float] = []

    def dawdle(values: Mapping[str, float]) -> None:
        calls.append(values["total"])
        time.sleep(1.2)

    progress = ProgressLog(Counts(total=20), dawdle, 0)
    for _ in range(3):
        progress.write(delayed=0)
    assert calls == [20]
    assert "it took too long" in caplog.text
