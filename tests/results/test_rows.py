"""Read the results of batches and sensors as rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.operators.batch import SendMessageBatchOperator
from intercom_provider.results import read_results
from intercom_provider.results.writer import ResultsWriter

if TYPE_CHECKING:
    from pathlib import Path

    from intercom_provider.sandbox import Sandbox

STATUS = {
    "whatsapp_message_id": "wamid.1",
    "key": "00123",
    "conversation_id": None,
    "user_id": "58a5",
    "status": "failed",
    "reason": "undeliverable",
    "template_name": "offer",
    "updated_at": 1_795_235_636,
}


def write(folder: Path, try_number: int, keys: list[str], *, end: bool = True) -> None:
    writer = ResultsWriter(str(folder), try_number, part_lines=2)
    writer.open()
    for index, key in enumerate(keys):
        writer.add({"index": index, "key": key, "outcome": "sent", "id": f"00{index}"})
    if end:
        writer.close()


def test_the_last_try_is_read_and_an_older_one_where_it_is_named(tmp_path: Path) -> None:
    write(tmp_path, 1, ["00123", "00124", "00125"])
    write(tmp_path, 2, ["00126"])
    assert list(read_results(str(tmp_path))) == [
        {
            "index": 0,
            "key": "00126",
            "outcome": "sent",
            "id": "000",
            "conversation_id": None,
            "whatsapp_message_id": None,
            "reason": None,
        }
    ]
    assert [row["key"] for row in read_results(str(tmp_path), results_try=1)] == ["00123", "00124", "00125"]


def test_a_try_that_did_not_come_to_its_end_is_an_error_that_names_the_way_on(tmp_path: Path) -> None:
    write(tmp_path, 1, ["a"])
    writer = ResultsWriter(str(tmp_path), 2, part_lines=1)
    writer.open()
    (tmp_path / "try-2-part-1.jsonl").write_text('{"index": 0, "key": "b", "outcome": "sent"}\n')
    with pytest.raises(InvalidInputError, match=r"try 2 of the batch did not come to its end .*allow_incomplete=True"):
        read_results(str(tmp_path))
    assert [row["key"] for row in read_results(str(tmp_path), allow_incomplete=True)] == ["b"]


def test_a_part_that_is_missing_makes_a_try_incomplete(tmp_path: Path) -> None:
    write(tmp_path, 1, ["a", "b", "c"])
    (tmp_path / "try-1-part-1.jsonl").unlink()
    with pytest.raises(InvalidInputError, match="did not come to its end"):
        read_results(str(tmp_path))


@pytest.mark.parametrize("lines", [0, 1])
def test_a_part_that_was_cut_between_two_lines_is_an_error_after_its_rows(lines: int, tmp_path: Path) -> None:
    write(tmp_path, 1, ["a", "b", "c", "d", "e"])
    part = tmp_path / "try-1-part-2.jsonl"
    part.write_text("".join(part.read_text().splitlines(keepends=True)[:lines]))
    rows = read_results(str(tmp_path))
    with pytest.raises(InvalidInputError, match=f"the parts of try 1 have {3 + lines} messages, the batch has 5"):
        list(rows)
    assert len(list(read_results(str(tmp_path), allow_incomplete=True))) == 3 + lines


def test_a_part_under_another_number_makes_a_try_incomplete(tmp_path: Path) -> None:
    write(tmp_path, 1, ["a", "b", "c"])
    (tmp_path / "try-1-part-1.jsonl").rename(tmp_path / "try-1-part-3.jsonl")
    with pytest.raises(InvalidInputError, match="did not come to its end"):
        read_results(str(tmp_path))


@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_line_that_was_cut_is_named_also_in_the_middle_of_a_character(cut: int, tmp_path: Path) -> None:
    write(tmp_path, 1, ["a", "é"])
    part = tmp_path / "try-1-part-1.jsonl"
    whole = part.read_bytes()
    part.write_bytes(whole[: whole.index("é".encode()) + cut])
    rows = read_results(str(tmp_path))
    assert next(rows)["key"] == "a"
    with pytest.raises(InvalidInputError, match=r"line 2 of try-1-part-1\.jsonl is not a batch's"):
        next(rows)
    (tmp_path / "statuses.jsonl").write_bytes(json.dumps(STATUS).encode() + b'\n{"status": "\xc3')
    with pytest.raises(InvalidInputError, match=r"line 2 of .*statuses\.jsonl is not the result of a message"):
        list(read_results(str(tmp_path / "statuses.jsonl")))


@pytest.mark.parametrize("path", [None, ""])
def test_a_batch_without_results_path_is_an_error_that_says_so(path: Any) -> None:
    with pytest.raises(InvalidInputError, match="the batch has no results_path, or could not write all of its results"):
        read_results(path)


@pytest.mark.parametrize("folder", ["a*[b]?", "100%20%", "x+y:z #1", "é 東京"])
def test_no_character_of_a_path_has_a_meaning(folder: str, tmp_path: Path) -> None:
    write(tmp_path / folder, 1, ["a"])
    write(tmp_path / "a_b_", 1, ["b"])
    assert [row["key"] for row in read_results(str(tmp_path / folder))] == ["a"]


def test_a_batch_without_messages_has_no_rows(run_dag: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    with DAG("none") as dag:
        SendMessageBatchOperator(task_id="send", messages=[], results_path=str(tmp_path))
    run = run_dag(dag)
    assert list(read_results(run.xcom("send", "results_path"))) == []
    assert not sandbox.messages


@pytest.mark.parametrize("results_try", [None, 1])
def test_a_folder_without_results_is_an_error(results_try: int | None, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="has no results of a batch: give the folder"):
        read_results(str(tmp_path), results_try=results_try)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_results(str(tmp_path / "missing"), results_try=results_try)


def test_a_try_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    write(tmp_path, 1, ["a"])
    write(tmp_path, 3, ["a"])
    with pytest.raises(InvalidInputError, match="has left the tries 1, 3"):
        read_results(str(tmp_path), results_try=2)


def test_a_sensors_file_is_read_with_times_as_times(tmp_path: Path) -> None:
    file = tmp_path / "statuses.jsonl"
    file.write_text(json.dumps(STATUS) + "\n" + json.dumps({"status": "pending", "key": 7}) + "\n")
    first, second = read_results(str(file))
    assert first == {**STATUS, "updated_at": datetime(2026, 11, 21, 4, 33, 56, tzinfo=UTC)}
    assert list(second) == list(first)
    assert (second["key"], second["updated_at"]) == ("7", None)


def test_a_sensors_empty_file_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "statuses.jsonl").write_text("")
    assert list(read_results(str(tmp_path / "statuses.jsonl"))) == []


@pytest.mark.parametrize(
    "line", ["no json", "7", '{"index": 1}', '{"outcome": "sent"}', pytest.param("[" * 100_000, id="deep")]
)
def test_a_line_of_something_else_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "statuses.jsonl").write_text(json.dumps(STATUS) + f"\n{line}\n")
    with pytest.raises(InvalidInputError, match=r"line 2 of .*statuses.jsonl is not the result of a message"):
        list(read_results(str(tmp_path / "statuses.jsonl")))


@pytest.mark.parametrize("time", ["1e400", '"now"', "NaN", "1e15", "[]", "true"])
def test_a_time_that_cannot_be_read_hides_no_status(time: str, tmp_path: Path) -> None:
    (tmp_path / "statuses.jsonl").write_text(f'{{"status": "read", "updated_at": {time}}}\n')
    (row,) = read_results(str(tmp_path / "statuses.jsonl"))
    assert (row["status"], row["updated_at"]) == ("read", None)


def test_a_try_of_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "statuses.jsonl").write_text(json.dumps(STATUS))
    with pytest.raises(InvalidInputError, match="goes with the folder of a batch"):
        read_results(str(tmp_path / "statuses.jsonl"), results_try=1)


def test_object_storage_is_read(tmp_path: Path) -> None:
    write(tmp_path, 1, ["a"])
    assert [row["key"] for row in read_results(f"file://{tmp_path}")] == ["a"]


def test_rows_load_into_pandas_and_polars_with_ids_as_text_and_times_as_times(tmp_path: Path) -> None:
    import pandas as pd
    import polars as pl

    file = tmp_path / "statuses.jsonl"
    rows = [{**STATUS, "conversation_id": None if number < 200 else "007"} for number in range(300)]
    file.write_text("".join(json.dumps(row) + "\n" for row in [{**STATUS, "updated_at": None}, *rows]))
    in_pandas = pd.DataFrame(read_results(str(file)))
    assert in_pandas["updated_at"].dtype.kind == "M"
    assert in_pandas["key"][0] == "00123"
    in_polars = pl.DataFrame(read_results(str(file)), infer_schema_length=None)
    assert in_polars.schema["updated_at"] == pl.Datetime("us", "UTC")
    assert in_polars.schema["conversation_id"] == in_polars.schema["key"] == pl.String
    assert in_polars["key"][0] == "00123"
