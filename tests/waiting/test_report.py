from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from intercom_provider.api.client import IntercomClient
from intercom_provider.api.settings import Settings
from intercom_provider.waiting.poll import FullPoll, SeenStatus
from intercom_provider.waiting.report import MAX_IDS, Report, write_rows
from intercom_provider.waiting.statuses import StatusCounter
from tests.support.hostile import Hostile, answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def polled(report: Report, seen_statuses: Iterable[SeenStatus]) -> FullPoll:
    counter = StatusCounter()
    for each in seen_statuses:
        counter.add(each.whatsapp_message_id, each.status)
        if report.wants(each.status):
            report.add(each)
    return FullPoll(counter.summarize(), counter=counter)


Make: TypeAlias = Callable[..., Report]


@pytest.fixture
def report() -> Iterator[Make]:
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            Report(**{"wait_for": "delivered", "results": "all", "keys": {}} | options)
        )


def seen(number: int, status: str, reason: str | None = "no phone") -> SeenStatus:
    return SeenStatus(f"wamid.{number}", status, "215", f"user-{number}", reason, "order_shipped", 1_700_000_000)


@pytest.fixture
def client() -> Any:
    with IntercomClient(Settings(token="t", base_url="http://127.0.0.1:1")) as client:
        yield client


def test_failures_have_keys_and_reasons(report: Make, client: IntercomClient) -> None:
    made = report(keys={"wamid.1": "order-1"})
    poll = polled(made, [seen(1, "failed"), seen(2, "read")])
    outcome = made.failure_summary(poll, client)
    assert outcome["failed_whatsapp_message_ids"] == ["wamid.1"]
    assert outcome["failed_keys"] == ["order-1"]
    assert outcome["failed_user_ids"] == ["user-1"]
    [failure] = outcome["failures"]
    assert (failure["key"], failure["reason"]) == ("order-1", "no phone")


def test_a_message_seen_as_failed_and_delivered_has_not_failed(report: Make, client: IntercomClient) -> None:
    made = report(results="failed")
    poll = polled(made, [seen(1, "failed"), seen(1, "delivered"), seen(2, "failed")])
    assert made.failure_summary(poll, client)["failed_whatsapp_message_ids"] == ["wamid.2"]
    assert [row["whatsapp_message_id"] for row in made.rows(poll)] == ["wamid.2"]


@pytest.mark.parametrize(
    ("results", "wait_for", "statuses"),
    [
        (None, "delivered", []),
        ("failed", "delivered", ["failed"]),
        ("pending", "delivered", ["sent", "new"]),
        ("pending", "read", ["sent", "delivered", "new"]),
        ("not_reached", "delivered", ["sent", "failed", "new"]),
        ("not_reached", "read", ["sent", "delivered", "failed", "new"]),
        ("all", "delivered", ["sent", "delivered", "read", "failed", "new"]),
    ],
)
def test_results_decides_which_messages_get_a_row_and_each_gets_one(
    report: Make, results: str | None, wait_for: str, statuses: list[str]
) -> None:
    made = report(results=results, wait_for=wait_for)
    seen_statuses = [seen(n, status) for n, status in enumerate(["sent", "delivered", "read", "failed", "new"])]
    poll = polled(made, [*seen_statuses, *seen_statuses])
    assert [row["status"] for row in made.rows(poll)] == statuses


def test_ids_are_complete_or_none(report: Make, client: IntercomClient) -> None:
    made = report(results=None)
    outcome = made.failure_summary(polled(made, (seen(n, "failed") for n in range(MAX_IDS))), client)
    assert len(outcome["failed_whatsapp_message_ids"]) == MAX_IDS
    made = report(results=None)
    outcome = made.failure_summary(polled(made, (seen(n, "failed") for n in range(MAX_IDS + 1))), client)
    assert outcome["failed_whatsapp_message_ids"] is outcome["failed_keys"] is outcome["failed_user_ids"] is None
    assert len(outcome["failures"]) == 10


def test_ids_are_none_when_not_all_were_kept(report: Make, client: IntercomClient) -> None:
    made = report(results=None)
    seen_statuses = [seen(n, "failed") for n in range(5_000)] + [seen(n, "delivered") for n in range(4_500)]
    poll = polled(made, seen_statuses)
    assert poll.summary.failed == 500
    assert made.failure_summary(poll, client)["failed_whatsapp_message_ids"] is None


def test_a_reason_that_cannot_be_read_does_not_hide_the_others(report: Make) -> None:
    with Hostile() as server, IntercomClient(Settings(token="t", base_url=server.url)) as client:
        server.script(
            answer(200, {"status": "failed", "error": {"message": "Expired", "details": "470"}}),
            answer(403, {"type": "error", "message": "No"}),
            answer(200, {"status": "failed", "error": None}),
        )
        made = report()
        poll = polled(made, [seen(n, "failed", None) for n in range(3)])
        reasons = [failure["reason"] for failure in made.failure_summary(poll, client)["failures"]]
    assert reasons[0] == "Expired: 470"
    assert reasons[1].startswith("not known: Intercom answered 403")
    assert reasons[2] == "no reason given"


def test_many_rows_are_kept_on_disk_and_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rows.jsonl"
    with Report(wait_for="delivered", results="all", keys={}) as made:
        poll = polled(made, (seen(n, "delivered") for n in range(8_000)))
        assert write_rows(made.rows(poll), str(path)) == 8_000
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {row["whatsapp_message_id"] for row in rows} == {f"wamid.{n}" for n in range(8_000)}
    assert set(rows[0]) == {
        "whatsapp_message_id", "key", "conversation_id", "user_id", "status", "reason", "template_name", "updated_at",
    }  # fmt: skip
    del made, poll
    # A file that is left open is a warning here, and so an error.
    gc.collect()


def test_rows_that_cannot_all_be_written_leave_the_earlier_file_as_it_was(tmp_path: Path) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield {"status": "failed"}
        raise OSError("the storage of the batch is gone")

    path = tmp_path / "rows.jsonl"
    assert write_rows(iter([{"status": "read"}]), str(path)) == 1
    with pytest.raises(OSError, match="is gone"):
        write_rows(broken(), str(path))
    assert path.read_text() == '{"status": "read"}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_rows_are_written_into_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor() as threads:
        read = threads.submit(path.read_text)
        assert write_rows(iter([{"status": "read"}]), str(path)) == 1
        assert read.result() == '{"status": "read"}\n'
