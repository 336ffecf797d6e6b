"""Which messages a list of keys and recipients holds back, and what is refused because it would hold back nobody."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.sending.batch.suppress_list import SuppressList, check_suppress
from tests.support.messages import email, parsed, whatsapp

if TYPE_CHECKING:
    from pathlib import Path

BY_ID = email(to={"type": "user", "id": "6500f0f0f0f0f0f0f0f0f0f0"})
BY_USER_ID = email(to={"type": "user", "user_id": 42})
BY_EMAIL = email(to={"type": "lead", "email": "Ada@Example.com"})
BY_PHONE = whatsapp(to={"phone": "+447700900123"})
WITH_KEY = email(to={"type": "user", "user_id": "7"}, key="invoice-17")
IN_COPY = email(to={"type": "user", "user_id": "7"}, bcc={"type": "user", "email": "ada@example.com"})


def reason(value: object, fields: dict[str, Any]) -> str | None:
    return SuppressList(value).reason(parsed(fields))


@pytest.mark.parametrize(
    ("entry", "fields"),
    [
        ("42", BY_USER_ID),
        (42, BY_USER_ID),
        (Decimal(42), BY_USER_ID),
        (42.0, BY_USER_ID),
        (" \ufeff42\t", BY_USER_ID),
        ("user:42", BY_USER_ID),
        ("lead: 42 ", BY_USER_ID),
        ({"user_id": 42}, BY_USER_ID),
        ({"type": "user", "user_id": "42", "email": None}, BY_USER_ID),
        ("6500f0f0f0f0f0f0f0f0f0f0", BY_ID),
        ("user:6500f0f0f0f0f0f0f0f0f0f0", BY_ID),
        ({"type": "user", "id": "6500f0f0f0f0f0f0f0f0f0f0"}, BY_ID),
        ("ADA@example.com ", BY_EMAIL),
        ("user:ada@example.com", BY_EMAIL),
        ({"email": "ada@EXAMPLE.com"}, BY_EMAIL),
        ({"user_id": "1", "email": "ada@example.com"}, BY_EMAIL),
        ("+447700900123", BY_PHONE),
        ("+44 7700 900-123", BY_PHONE),
        ({"phone": "+44 7700 900123", "name": "Ada"}, BY_PHONE),
        ("invoice-17", WITH_KEY),
        ({"key": "invoice-17"}, WITH_KEY),
        ("ada@example.com", IN_COPY),
        (UUID(int=5), email(to={"type": "user", "user_id": str(UUID(int=5))})),
    ],
)
def test_an_entry_holds_back_whom_it_names_however_it_is_written(entry: object, fields: dict[str, Any]) -> None:
    assert reason([entry], fields) == f"suppress holds its {'key' if fields is WITH_KEY else 'recipient'}"


@pytest.mark.parametrize(
    ("entry", "fields"),
    [
        ("43", BY_USER_ID),
        ({"id": "42"}, BY_USER_ID),
        ({"key": "42"}, BY_USER_ID),
        ({"key": "7"}, WITH_KEY),
        ({"user_id": "invoice-17"}, WITH_KEY),
        ("Invoice-17", WITH_KEY),
        ("bob@example.com", BY_EMAIL),
        ("+447700900124", BY_PHONE),
    ],
)
def test_an_entry_holds_nobody_else_back(entry: object, fields: dict[str, Any]) -> None:
    assert reason([entry], fields) is None


@pytest.mark.parametrize("value", [[], [None, "", " ", float("nan"), Decimal("NaN")], (), "[]", set()])
def test_an_empty_list_holds_nobody_back(value: object) -> None:
    assert reason(value, BY_EMAIL) is None


@pytest.mark.parametrize("name", ["left_out.txt", "left_out.jsonl.gz"])
def test_a_file_has_an_entry_a_line_as_text_or_json(tmp_path: Path, name: str) -> None:
    lines = [" 41", "", '{"user_id": 42}', '"Ada@example.com"', "+44 7700 900123\r", "None", '{"key": "invoice-17"}']
    data = ("\ufeff" + "\n".join(lines)).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    for where in (str(path), path, path.as_uri()):
        found = SuppressList(where)
        assert all(found.reason(parsed(each)) for each in (BY_USER_ID, BY_EMAIL, BY_PHONE, WITH_KEY, IN_COPY))
        assert found.reason(parsed(BY_ID)) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is empty, so that nobody would be left out"),
        (None, r"Give \[\] for nobody"),
        ("None", "is empty"),
        ({"user_id": 1}, "must be a list of keys and recipients"),
        ("no-such-file.txt", "cannot be read"),
        ("s3://user:password@bucket/people", "holds credentials"),
        (["1", True], r"suppress\[1\]: must be a key or a recipient"),
        ([1.5], "must be a key or a recipient"),
        (iter(["1"]), "must be a list of keys and recipients"),
        (["42.0"], "whole number with a decimal point"),
        (["42,ada@example.com"], "comma or a semicolon"),
        (["Ada <ada@example.com>"], "must be one email address alone"),
        (["+44 (0)7700 900123"], r"leave the \(0\) out"),
        (["+44 77"], r"must be in E\.164"),
        (["4\u200b2"], r"U\+200B"),
        ([{"phone": 447700900123}], "phone must be text"),
        ([{"external_id": "42"}], "needs id, user_id, email, phone or key"),
        ([{"type": "user"}], "needs id, user_id, email, phone or key"),
        ([{"email": "ada"}], "email must be one email address"),
    ],
)
def test_what_would_match_nobody_is_refused_with_its_place(value: object, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        SuppressList(value)
    assert "suppress" in str(caught.value)
    assert "Ada <" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('["42", "43"]', "one entry a line"),
        ('{"user_id": 42', "neither UTF-8 text nor JSON"),
        ('{"user_id": 42, "user_id": 43}', "twice in one object"),
        ("id;email", "semicolon"),
    ],
)
def test_a_wrong_line_is_named_by_its_number(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "left_out.jsonl"
    path.write_text(f"41\n\n{line}\n")
    with pytest.raises(InvalidInputError, match=f"suppress, line 3: .*{words}"):
        SuppressList(str(path))


def test_ten_places_are_named_and_the_rest_is_counted() -> None:
    with pytest.raises(InvalidInputError) as caught:
        SuppressList([1.5] * 1_234)
    places = [problem.field for problem in caught.value.problems]
    assert places == [*(f"suppress[{index}]" for index in range(10)), "suppress"]
    assert "and 1,224 more" in str(caught.value)


def test_a_list_in_the_dag_is_checked_when_the_dag_is_parsed() -> None:
    for value in ("no-such-file", ["42"], [None], []):
        check_suppress(value)
    for wrong in ([1.5], 42, True, {"user_id": 42}, ""):
        with pytest.raises(InvalidInputError, match="suppress"):
            check_suppress(wrong)


def test_a_long_list_takes_no_more_memory_than_digests_do(tmp_path: Path) -> None:
    path = tmp_path / "left_out.jsonl"
    number, padding = 20_000, "x" * 200
    with path.open("w") as file:
        file.writelines(json.dumps({"key": f"{padding}{index}"}) + "\n" for index in range(number))
    SuppressList(str(path))
    tracemalloc.start()
    try:
        found = SuppressList(str(path))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.reason(parsed({**WITH_KEY, "key": f"{padding}17"})) == "suppress holds its key"
    assert kept / number < len(padding)
