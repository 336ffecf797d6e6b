"""Read the results of a try of a batch, and whether it came to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercom_provider.results.reader import MessageResult, TryResults
from intercom_provider.results.writer import ResultsWriter

if TYPE_CHECKING:
    from pathlib import Path

LINE = {
    "index": 0,
    "key": "k0",
    "outcome": "sent",
    "id": "4039",
    "conversation_id": "2159",
    "whatsapp_message_id": "wamid.0",
    "reason": None,
}


def write(folder: Path, try_number: int, lines: int, *, end: bool = True) -> None:
    results = ResultsWriter(str(folder), try_number)
    results.open()
    for index in range(lines):
        results.add({**LINE, "index": index})
        results.write()
    if end:
        results.close()


def test_a_line_is_read_with_all_its_fields(tmp_path: Path) -> None:
    write(tmp_path, 1, 1)
    (line,) = TryResults.of_try(str(tmp_path), 1, 1).lines()
    assert line == MessageResult(0, "sent", "wamid.0", "k0", None, "4039", "2159")


def test_a_certain_try_is_read_although_another_is_newer(tmp_path: Path) -> None:
    write(tmp_path, 1, 3)
    write(tmp_path, 2, 1)
    assert [line.index for line in TryResults.of_try(str(tmp_path), 1, 3).lines()] == [0, 1, 2]
    assert [each.try_number for each in TryResults.of_tries(str(tmp_path))] == [1, 2]
    assert TryResults.of_last_try(str(tmp_path), 1).try_number == 2


def test_a_try_that_left_nothing_is_an_error_unless_the_batch_was_empty(tmp_path: Path) -> None:
    write(tmp_path, 1, 1)
    with pytest.raises(ValueError, match="try 2 of the batch has left no results"):
        TryResults.of_try(str(tmp_path), 2, 1)
    assert list(TryResults.of_try(str(tmp_path), 2, 0).lines()) == []


def test_a_try_is_complete_when_its_end_is_marked_and_its_parts_are_there(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, end=False)
    assert not TryResults.of_try(str(tmp_path), 1, 2).is_complete()
    write(tmp_path, 2, 2)
    second = TryResults.of_try(str(tmp_path), 2, 2)
    assert second.is_complete()
    (tmp_path / "try-2-part-1.jsonl").unlink()
    assert not second.is_complete()


def test_an_empty_batch_is_complete_without_a_part(tmp_path: Path) -> None:
    write(tmp_path, 1, 0)
    results = TryResults.of_last_try(str(tmp_path), 0)
    assert (results.is_complete(), list(results.lines())) == (True, [])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"parts": "x"}', '{"parts": 1}', '{"parts": 1e400, "lines": 1}'])
def test_a_mark_of_the_end_that_a_batch_did_not_write_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "try-1.end.json").write_text(text)
    with pytest.raises(ValueError, match=r"try-1\.end\.json is not a batch's"):
        TryResults(str(tmp_path), 1, None).is_complete()
