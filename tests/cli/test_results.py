"""The command `results`."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from intercom_provider.results.writer import ResultsWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Ended

    Run = Callable[..., Ended]

HEAD = "index,key,outcome,id,conversation_id,whatsapp_message_id,reason\n"


def write(folder: Path, *lines: dict[str, Any], end: bool = True) -> str:
    writer = ResultsWriter(str(folder), 1)
    writer.open()
    for index, line in enumerate(lines):
        writer.add({"index": index, "outcome": "sent", **line})
    if end:
        writer.close()
    return str(folder)


def test_a_batch_becomes_csv_with_ids_as_they_are(run: Run, tmp_path: Path) -> None:
    ended = run("results", write(tmp_path, {"key": "00123", "id": "0042"}, {"outcome": "rejected", "reason": "a, b"}))
    assert (ended.code, ended.out) == (0, f'{HEAD}0,00123,sent,0042,,,\n1,,rejected,,,,"a, b"\n')
    assert ended.err.endswith("2 of 2 messages\n")


def test_json_lines_are_those_of_the_batch(run: Run, tmp_path: Path) -> None:
    ended = run("results", write(tmp_path, {"key": "=1+1", "reason": "né"}), "--output", "jsonl")
    row = {"index": 0, "key": "=1+1", "outcome": "sent", "id": None, "conversation_id": None}
    assert ended.out == json.dumps({**row, "whatsapp_message_id": None, "reason": "né"}, ensure_ascii=False) + "\n"


@pytest.mark.parametrize(
    "text", ["=HYPERLINK(1)", "+1+cmd|' /C calc'!A0", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1+1"]
)
def test_no_cell_is_a_formula(text: str, run: Run, tmp_path: Path) -> None:
    ended = run("results", write(tmp_path, {"key": text, "reason": text}))
    (row,) = csv.DictReader(io.StringIO(ended.out, newline=""))
    assert row["key"] == row["reason"] == "'" + text.replace("\r", "\n")


@pytest.mark.parametrize("text", ["-5", "+447900123456", "a=b", "00123", "a\nb"])
def test_what_is_no_formula_is_left_alone(text: str, run: Run, tmp_path: Path) -> None:
    ended = run("results", write(tmp_path, {"key": text}))
    (row,) = csv.DictReader(io.StringIO(ended.out, newline=""))
    assert row["key"] == text


def test_only_the_outcomes_that_are_asked_for(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, {"key": "a"}, {"key": "b", "outcome": "rejected"}, {"key": "c", "outcome": "expired"})
    ended = run("results", path, "--outcome", "rejected", "--outcome", "expired")
    assert ended == run("results", path, "--outcome", "rejected", "expired")
    assert [line.split(",")[1] for line in ended.out.splitlines()] == ["key", "b", "c"]
    assert ended.err.endswith("2 of 3 messages\n")


def test_an_outcome_that_does_not_exist_is_an_error(run: Run, tmp_path: Path) -> None:
    ended = run("results", write(tmp_path, {"key": "a"}), "--outcome", "failed")
    assert (ended.code, ended.out) == (1, "")
    assert "--outcome: a batch's outcomes are sent, already_sent," in ended.err


def test_a_sensors_file_has_its_times_as_iso_text_and_is_chosen_by_status(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "statuses.jsonl"
    lines = [{"status": "read", "updated_at": 1_795_235_636}, {"status": "failed", "key": "00123"}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert ",2026-11-21T04:33:56+00:00\n" in run("results", str(file)).out
    ended = run("results", str(file), "--outcome", "failed", "--output", "jsonl")
    assert json.loads(ended.out)["key"] == "00123"


def test_a_status_that_no_message_has_is_named_with_those_that_are_there(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "statuses.jsonl"
    file.write_text('{"status": "read"}\n{"status": "failed"}\n')
    ended = run("results", str(file), "--outcome", "failed", "undeliverd")
    assert ended.code == 0
    assert ended.err.endswith("1 of 2 messages\nNo message is undeliverd: the file has failed, read\n")


def test_an_incomplete_try_is_read_only_where_it_is_allowed(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, end=False)
    assert run("results", path).code == 1
    assert run("results", path, "--allow-incomplete").out == HEAD


def test_an_empty_batch_is_the_head_alone(run: Run, tmp_path: Path) -> None:
    assert run("results", write(tmp_path)).out == HEAD


@pytest.mark.parametrize("command", ["results", "unconfirmed"])
def test_storage_that_refuses_is_an_error_of_one_line(command: str, run: Run) -> None:
    class Refusing(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no annotations
        cachable = False

        def info(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("AccessDenied: you may not list this bucket")

        ls = info

    # Airflow keeps the first storage of a connection.
    attach("memory", conn_id="refusing", fs=Refusing()).fs = Refusing()
    ended = run(command, "memory://refusing@bucket/results")
    assert ended.code == 1
    assert ended.err.endswith("cannot be read: AccessDenied: you may not list this bucket\n")
    assert "Traceback" not in ended.err


def test_a_folder_of_nothing_is_an_error_of_one_line(run: Run, tmp_path: Path) -> None:
    ended = run("results", str(tmp_path))
    assert ended.code == 1
    assert "has no results of a batch" in ended.err
    assert "Traceback" not in ended.err
