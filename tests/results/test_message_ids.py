"""Read the ids of many messages from the results of batches, whenever they are needed."""

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
    """Return eleven ids: ten in two parts beside a rejected message, and one in memory."""
    refused = line(99, outcome="rejected", whatsapp_message_id=None)
    tmp_path.joinpath("try-2-part-1.jsonl").write_text("".join(map(line, range(5))) + refused)
    tmp_path.joinpath("try-2-part-2.jsonl").write_text("".join(map(line, range(5, 10))))
    return StreamedIds([TryResults(str(tmp_path), 2, 11), {"wamid.10": "k10"}], 11)


ALL = [f"wamid.{number}" for number in range(11)]


def test_ids_are_a_sequence_like_any_other(ids: StreamedIds) -> None:
    assert len(ids) == 11
    assert list(ids) == list(ids) == ALL
    assert [ids[index] for index in (3, 3, 9, 10, 0, 7)] == [ALL[index] for index in (3, 3, 9, 10, 0, 7)]
    assert ids[2:5] == ALL[2:5]
    assert ids[:1] == ALL[:1]
    for outside in (-1, 11):
        with pytest.raises(IndexError):
            ids[outside]


def test_the_keys_of_recently_read_ids_are_known(ids: StreamedIds) -> None:
    assert [ids.get(id_) for id_ in ids] == [f"k{number}" for number in range(11)]
    ids.close()
    assert [ids[9], ids[3]] == ["wamid.9", "wamid.3"]
    assert [ids.get(f"wamid.{number}") for number in (3, 4, 9)] == ["k3", None, "k9"]
    ids.close()
    assert ids.get("wamid.3") is None
    assert ids[3] == "wamid.3"


def test_the_stored_state_restores_the_ids_and_holds_no_key(ids: StreamedIds) -> None:
    stored = json.dumps(ids.state())
    assert "k1" not in stored
    assert "wamid.3" not in stored
    assert list(StreamedIds.resume(json.loads(stored))) == ALL


def test_a_later_try_changes_nothing(ids: StreamedIds, tmp_path: Path) -> None:
    tmp_path.joinpath("try-3-part-1.jsonl").write_text(line(77))
    assert list(ids) == ALL


def test_missing_parts_are_permanent_and_unreadable_ones_may_pass(ids: StreamedIds, tmp_path: Path) -> None:
    second = tmp_path / "try-2-part-2.jsonl"
    second.rename(tmp_path / "kept")
    with pytest.raises(InvalidInputError, match="have 6 messages, the batch has 11"):
        list(ids)
    second.mkdir()
    with pytest.raises(UnreachableError, match="cannot be read"):
        list(ids)
    second.rmdir()
    tmp_path.joinpath("kept").rename(second)
    assert list(ids) == ALL


def test_fewer_ids_than_before_are_an_error(ids: StreamedIds) -> None:
    more = StreamedIds.resume({**ids.state(), "number": 12})
    with pytest.raises(InvalidInputError, match="fewer ids than before"):
        list(more)


def test_no_more_keys_are_held_than_calls_may_be_under_way() -> None:
    many = StreamedIds(
        [{f"wamid.{number}": number for number in range(3 * MAX_UNTAKEN_RESULTS)}], 3 * MAX_UNTAKEN_RESULTS
    )
    known = [sum(many.get(each) is not None for each in ALL) for _ in many]
    assert known[: len(ALL)] == list(range(1, len(ALL) + 1))
    assert known[MAX_UNTAKEN_RESULTS] == len(ALL)
    assert known[-1] == 0
