"""Write the results of a batch: on a full disk, beside those of another run, and with the mark of the end."""

from __future__ import annotations

import json
import resource
from typing import TYPE_CHECKING

import pytest

from intercom_provider.results.reader import TryResults
from intercom_provider.results.writer import MAX_PART_LINES, ResultsWriter
from tests.support.eventually import until

if TYPE_CHECKING:
    from pathlib import Path


def test_the_end_of_a_try_is_marked_with_the_number_of_its_parts_and_lines(tmp_path: Path) -> None:
    results = ResultsWriter(str(tmp_path), try_number=3)
    results.open()
    results.add({"outcome": "sent"})
    results.write()
    results.add({"outcome": "sent"})
    results.add({"outcome": "sent"})
    results.close()
    assert json.loads((tmp_path / "try-3.end.json").read_text()) == {"parts": 2, "lines": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "try-3-part-1.jsonl",
        "try-3-part-2.jsonl",
        "try-3.begin.json",
        "try-3.end.json",
    ]


def test_a_try_whose_lines_could_not_all_be_written_has_no_end(tmp_path: Path) -> None:
    results = ResultsWriter(str(tmp_path), try_number=1)
    results.open()
    (tmp_path / "try-1-part-1.jsonl").mkdir()
    results.add({"outcome": "sent"})
    results.close()
    assert results.failed
    assert {path.name for path in tmp_path.iterdir()} == {"try-1.begin.json", "try-1-part-1.jsonl"}


def test_where_a_part_cannot_be_written_whole_there_is_none_of_it_and_the_next_one_is_written(tmp_path: Path) -> None:
    results = ResultsWriter(str(tmp_path), try_number=1)
    results.open()
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, usual[1]))
    try:
        for index in range(MAX_PART_LINES):
            results.add({"index": index, "reason": "." * 100})
        until(lambda: results.failed, "an error of the disk")
        assert [path.name for path in tmp_path.iterdir()] == ["try-1.begin.json"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)

    results.add({"index": MAX_PART_LINES})
    results.close()
    assert [json.loads(part.read_text()) for part in tmp_path.glob("*.jsonl")] == [{"index": MAX_PART_LINES}]
    assert not (tmp_path / "try-1.end.json").exists()


@pytest.mark.parametrize(
    "left", [["try-1-part-1.jsonl"], ["try-1-part-1.jsonl", "try-2-part-1.jsonl"], ["try-1.end.json"]]
)
def test_what_a_deleted_run_of_the_same_name_left_is_not_taken_for_what_this_one_sent(
    tmp_path: Path, left: list[str]
) -> None:
    for name in left:
        (tmp_path / name).write_text('{"outcome": "sent", "whatsapp_message_id": "wamid.old"}\n')
    results = ResultsWriter(str(tmp_path), try_number=1)
    results.open()
    results.add({"outcome": "sent", "whatsapp_message_id": "wamid.new"})
    results.close()
    assert results.try_number == 1 + len(left)
    lines = TryResults.of_last_try(str(tmp_path), 1).lines()
    assert [line.whatsapp_message_id for line in lines] == ["wamid.new"]
