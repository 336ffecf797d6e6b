"""Recognize what a file is that was given as JSON Lines, by its first line: one cause in place of an error a line."""

from __future__ import annotations

import json
from typing import Final

NOT_AN_OBJECT: Final = "must be an object of a message's fields"
AS_JSON_LINES: Final = (
    'JSON Lines have one message a line, such as {"to": {"phone": "+447900123456"}}; pandas writes them with '
    'to_json(path, orient="records", lines=True)'
)
_SIGNATURES: Final = (
    (b"PAR1", "is Parquet"),
    (b"PK\x03\x04", "is a zip archive, such as an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "is an Excel workbook"),
    (b"\x1f\x8b", "is compressed by gzip: let its name end in .gz"),
    (b"Obj\x01", "is Avro"),
    (b"ORC", "is ORC"),
    (b"\xff\xfe", "is UTF-16: write it as UTF-8"),
    (b"\xfe\xff", "is UTF-16: write it as UTF-8"),
    (b"<", "is HTML or XML, perhaps an error page in place of the file"),
)
_DELIMITERS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_CONTINUES: Final = ("{", "[", ",", ":")


def recognize_format(first_line: bytes, second_line: bytes | None = None) -> str:
    """
    Recognize a format by the first lines of a file, of which the first is not a JSON object.

    :param first_line: The line, stripped.
    :param second_line: The next one; None (default) when there is none. With an object on it, the file is JSON Lines
        whose first line is wrong.
    :return: What the file is, without quoting it, as the beginning of a sentence; "" when that cannot be told.
    """
    for signature, name in _SIGNATURES:
        if first_line.startswith(signature):
            return name
    try:
        text = first_line.decode()
    except UnicodeDecodeError:
        return ""
    if second_line is not None and _is_object(second_line):
        return ""
    return _recognize_text(text)


def describe_text(text: str) -> str:
    """
    Describe a text of several lines that was given in the place of a path.

    :param text: The text.
    :return: What it is and what to do, as the beginning of a sentence; "" for a text of one line.
    """
    first, *others = [line.strip().encode(errors="replace") for line in text.splitlines() if line.strip()][:2] or [b""]
    if not others:
        return ""
    if _is_object(first):
        return "is the text of JSON Lines: give the path of a file with it, or a list of its objects"
    return recognize_format(first, others[0]) or "is a text of several lines: give a list, or a path"


def describe_row(row: object) -> str:
    """
    Describe a row of a list that is no object.

    :param row: The row.
    :return: What is wrong with it.
    """
    if any(hasattr(row, name) for name in ("keys", "_asdict", "as_dict")):
        return f"{NOT_AN_OBJECT}: it is a row of a database's own type, make an object of it with dict(row)"
    if isinstance(row, list | tuple):
        return f"{NOT_AN_OBJECT}: values need their names, as in dict(zip(columns, row)) or from a cursor of dicts"
    return NOT_AN_OBJECT


def _recognize_text(text: str) -> str:
    if text.startswith("["):
        return "is a JSON array: jq -c '.[]' makes JSON Lines of it"
    if text.startswith("{'"):
        return "is what Python prints: json.dumps writes JSON"
    if text.startswith("{"):
        is_cut = text.endswith(_CONTINUES) and not _is_json(text)
        return "is JSON over several lines: jq -c . makes JSON Lines of it" if is_cut else ""
    if _is_json(text):
        return ""
    names = [name for char, name in _DELIMITERS.items() if char in text]
    return f"is CSV, or another table as text (its values are separated by {names[0]})" if names else ""


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
