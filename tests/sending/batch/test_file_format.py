"""A file that is not JSON Lines is told once, by what it is."""

from __future__ import annotations

import gzip
import json
from collections import namedtuple
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.settings import Settings
from intercom_provider.sending.batch.input import BatchInput

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [{"phone": f"+4479001234{n:02}", "first_name": "Ada"} for n in range(30)]
MESSAGES = [{"to": {"phone": row["phone"]}, "params": {"first_name": row["first_name"]}} for row in ROWS]
DEFAULTS = {"message_type": "whatsapp", "template": "hello"}
FRAME = pd.DataFrame(ROWS)


def problems(messages: object) -> list[str]:
    with (
        BatchInput(messages, DEFAULTS, duplicates="skip", salt="run", settings=Settings("t", admin_id=1)) as batch,
        pytest.raises(InvalidInputError) as caught,
    ):
        batch.check()
    return [str(problem) for problem in caught.value.problems]


FILES: dict[str, tuple[Any, str]] = {
    "csv": (FRAME.to_csv(index=False), "is CSV, or another table as text (its values are separated by commas)"),
    "semicolons": (FRAME.to_csv(index=False, sep=";"), "semicolons"),
    "tabs": (FRAME.to_csv(index=False, sep="\t"), "tabs"),
    "a byte order mark": ("\ufeff" + FRAME.to_csv(index=False), "is CSV"),
    "array": (json.dumps(MESSAGES), "is a JSON array"),
    "array with a line a message": ("[" + ",\n".join(map(json.dumps, MESSAGES)) + "]", "is a JSON array"),
    "pretty array": (json.dumps(MESSAGES, indent=2), "is a JSON array"),
    "pretty objects": ("\n".join(json.dumps(each, indent=2) for each in MESSAGES), "is JSON over several lines"),
    "printed by Python": ("\n".join(map(repr, MESSAGES)), "is what Python prints"),
    "UTF-16": (json.dumps(MESSAGES[0]).encode("utf-16"), "is UTF-16"),
    "parquet": (b"PAR1\x15\x04\x15", "is Parquet"),
    "workbook": (b"PK\x03\x04\x14\x00\n\x00", "is a zip archive, such as an Excel workbook"),
    "gzip": (gzip.compress(json.dumps(MESSAGES[0]).encode()), "is compressed by gzip"),
    "an error page": ("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is HTML or XML"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_recognized_and_nothing_of_it_is_quoted(tmp_path: Path, name: str) -> None:
    content, words = FILES[name]
    path = tmp_path / "messages.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    [problem] = problems(str(path))
    assert problem.startswith("messages: is ")
    assert words in problem
    assert "to_json(path" in problem
    assert "447900" not in problem.replace("+447900123456", "")


@pytest.mark.parametrize("wrong", ["{broken", '{"to": {}},', "null", "Hello, Ada", "a;b", "{'to': 1}"])
def test_a_wrong_first_line_of_json_lines_is_that_lines_problem(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_text("\n".join([wrong, *map(json.dumps, MESSAGES)]))
    assert problems(str(path))[0].startswith("messages, line 1: is not a JSON object")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FRAME.to_csv(index=False), "is CSV"),
        ("\n".join(map(json.dumps, MESSAGES)), "is the text of JSON Lines"),
        ("Hello\nAda\n", "is a text of several lines"),
    ],
)
def test_a_text_of_several_lines_is_no_path(text: str, words: str) -> None:
    [problem] = problems(text)
    assert problem.startswith(f"messages: {words}")


Row = namedtuple("Row", ["phone", "name"])  # noqa: PYI024 - as drivers of databases make them


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("+447900123456", "Ada"), "dict(zip(columns, row))"),
        (["+447900123456", "Ada"], "dict(zip(columns, row))"),
        (Row("+447900123456", "Ada"), "dict(row)"),
    ],
)
def test_a_row_of_a_cursor_says_how_to_make_an_object_of_it(row: object, words: str) -> None:
    assert words in problems([row, *MESSAGES])[0]


@pytest.mark.parametrize(
    "table", [FRAME, FRAME["phone"], pl.DataFrame(ROWS), FRAME.to_numpy()], ids=["pandas", "series", "polars", "numpy"]
)
def test_a_table_itself_is_told_how_to_make_messages(table: object) -> None:
    [problem] = problems(table)
    assert problem.startswith("messages: is a table")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (ROWS[0], "is a flat row: put phone into to, and into params first_name"),
        ({"PHONE": "+447900123456", "FIRST_NAME": "Ada"}, "put PHONE into to, and into params FIRST_NAME"),
        ({"message_type": "email", "email": "ada@example.com", "id": 5}, "put email, id into to"),
        ({"USER_ID": 5, "BODY": "Hi"}, "put USER_ID into to"),
        ({"TO": {"phone": "+447900123456"}, "PARAMS": {"a": 1}}, "has TO, PARAMS, and the fields of a message are in"),
        ({"to": {"phone": "+447900123456"}, "Key": "a"}, "has Key, and the fields"),
        ({"to": {"phone": "+447900123456"}, "messageType": "sms"}, "has messageType, and the fields"),
        ({"externalId": 7, "plan": "pro"}, "put externalId into to, and into params plan"),
    ],
)
def test_a_row_of_another_shape_is_one_cause(row: dict[str, Any], words: str) -> None:
    found = problems([row, *MESSAGES, row, row])
    assert len(found) == 2
    assert found[0].startswith("messages[0]: ")
    assert words in found[0]
    assert found[0].endswith("(3 times: index 0, 31, 32)")
    assert found[1].startswith("messages: 3 of 33 are wrong")
