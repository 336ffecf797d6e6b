"""The results of a batch: on a disk that is full, and where another run has left its own."""

from __future__ import annotations

import json
import resource
from typing import TYPE_CHECKING

import pytest

from intercom_provider.results.reader import TryResults
from intercom_provider.results.writer import LINES_A_PART, ResultsWriter

if TYPE_CHECKING:
    from pathlib import Path


def test_where_a_part_cannot_be_written_whole_there_is_none_of_it_and_the_next_one_is_written(tmp_path: Path) -> None:
    results = ResultsWriter(str(tmp_path), attempt=1)
    results.open()
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, usual[1]))
    try:
        for index in range(LINES_A_PART):
            results.add({"index": index, "reason": "." * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert results.failed
    assert list(tmp_path.iterdir()) == []

    results.add({"index": LINES_A_PART})
    results.write()
    assert [json.loads(part.read_text()) for part in tmp_path.iterdir()] == [{"index": LINES_A_PART}]


@pytest.mark.parametrize("left", [["try-1-part-1.jsonl"], ["try-1-part-1.jsonl", "try-2-part-1.jsonl"]])
def test_what_a_deleted_run_of_the_same_name_left_is_not_taken_for_what_this_one_sent(
    tmp_path: Path, left: list[str]
) -> None:
    for name in left:
        (tmp_path / name).write_text('{"outcome": "sent", "whatsapp_message_id": "wamid.old"}\n')
    results = ResultsWriter(str(tmp_path), attempt=1)
    results.open()
    results.add({"outcome": "sent", "whatsapp_message_id": "wamid.new"})
    results.write()
    lines = TryResults.of_last_try(str(tmp_path), 1).lines()
    assert [line.whatsapp_message_id for line in lines] == ["wamid.new"]
