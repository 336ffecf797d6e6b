"""The results of a batch on a disk that is full."""

from __future__ import annotations

import json
import resource
from typing import TYPE_CHECKING

from intercom_provider.batch.results import LINES_A_PART, Results

if TYPE_CHECKING:
    from pathlib import Path


def test_where_a_part_cannot_be_written_whole_there_is_none_of_it_and_the_next_one_is_written(tmp_path: Path) -> None:
    results = Results(str(tmp_path), attempt=1)
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
