"""Ids of many messages: read from where batches left them, whenever they are wanted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.errors import InvalidInputError, UnreachableError
from intercom_provider.api.parallel import MAX_UNTAKEN_RESULTS
from intercom_provider.results.message_ids import StreamedIds
from intercom_provider.results.reader import TryResults

if TYPE_CHECKING:
    from pathlib import Path


def line(number: int, **more: Any) -> str:
    return json.dumps({"outcome": "sent", "whatsapp_message_id": f"wamid.{number}", "key": f"k{number}"} | more) + "\n"


@pytest.fixture
def ids(tmp_path: Path) -> StreamedIds:
    """Give eleven ids: ten in two parts, between a message that was refused, and one by itself."""
    refused = line(99, outcome="rejected", whatsapp_message_id=None)
    tmp_path.joinpath("try-2-part-1.jsonl").write_text("".join(map(line, range(5))) + refused)
    tmp_path.joinpath("try-2-part-2.jsonl").write_text("".join(map(line, range(5, 10))))
    return StreamedIds([TryResults(str(tmp_path), 2, 11), {"wamid.10": "k10"}], 11)


ALL = [f"wamid.{number}" for number in range(11)]


def test_they_are_a_sequence_like_any_other(ids: StreamedIds) -> None:
    assert len(ids) == 11
    assert list(ids) == list(ids) == ALL
    assert [ids[index] for index in (3, 3, 9, 10, 0, 7)] == [ALL[index] for index in (3, 3, 9, 10, 0, 7)]
    assert ids[2:5] == ALL[2:5]
    assert ids[:1] == ALL[:1]
    for outside in (-1, 11):
        with pytest.raises(IndexError):
            ids[outside]


def test_the_key_is_known_of_those_that_were_looked_at_lately(ids: StreamedIds) -> None:
    assert [ids.get(id_) for id_ in ids] == [f"k{number}" for number in range(11)]
    ids.close()
    assert [ids[9], ids[3]] == ["wamid.9", "wamid.3"]
    assert [ids.get(f"wamid.{number}") for number in (3, 4, 9)] == ["k3", None, "k9"]
    ids.close()
    assert ids.get("wamid.3") is None
    assert ids[3] == "wamid.3"


def test_another_process_reads_the_same_and_is_told_no_key(ids: StreamedIds) -> None:
    stored = json.dumps(ids.state())
    assert "k1" not in stored
    assert "wamid.3" not in stored
    assert list(StreamedIds.resume(json.loads(stored))) == ALL


def test_a_try_that_came_later_changes_nothing(ids: StreamedIds, tmp_path: Path) -> None:
    tmp_path.joinpath("try-3-part-1.jsonl").write_text(line(77))
    assert list(ids) == ALL


def test_what_is_gone_is_told_and_what_may_come_back_is_not_given_up(ids: StreamedIds, tmp_path: Path) -> None:
    second = tmp_path / "try-2-part-2.jsonl"
    second.rename(tmp_path / "kept")
    with pytest.raises(InvalidInputError, match="tell of 6 messages, the batch of 11"):
        list(ids)
    second.mkdir()
    with pytest.raises(UnreachableError, match="can not be read"):
        list(ids)
    second.rmdir()
    tmp_path.joinpath("kept").rename(second)
    assert list(ids) == ALL


def test_fewer_ids_than_there_were_are_not_taken_for_all(ids: StreamedIds) -> None:
    more = StreamedIds.resume({**ids.state(), "number": 12})
    with pytest.raises(InvalidInputError, match="fewer ids than before"):
        list(more)


def test_only_so_many_keys_are_held_as_calls_may_be_under_way() -> None:
    many = StreamedIds(
        [{f"wamid.{number}": number for number in range(3 * MAX_UNTAKEN_RESULTS)}], 3 * MAX_UNTAKEN_RESULTS
    )
    known = [sum(many.get(each) is not None for each in ALL) for _ in many]
    assert known[: len(ALL)] == list(range(1, len(ALL) + 1))
    assert known[MAX_UNTAKEN_RESULTS] == len(ALL)
    assert known[-1] == 0
