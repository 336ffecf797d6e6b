"""Recognize what a file is that was given as JSON Lines, by its first line: one cause in place of an error a line."""

from __future__ import annotations

import json
from typing import Final

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


def recognize_format(first_line: bytes) -> str:
    """
    Recognize a format by the first line of a file, which is not a JSON object.

    :param first_line: The line, stripped.
    :return: What the file is, without quoting it, as the beginning of a sentence; "" when that cannot be told.
    """
    for signature, name in _SIGNATURES:
        if first_line.startswith(signature):
            return name
    try:
        text = first_line.decode()
    except UnicodeDecodeError:
        return ""
    if text.startswith("["):
        return "is a JSON array: jq -c '.[]' makes JSON Lines of it"
    if text.startswith("{"):
        is_cut = text.endswith(_CONTINUES) and not _is_json(text)
        return "is JSON over several lines: jq -c . makes JSON Lines of it" if is_cut else ""
    if _is_json(text):
        return ""
    names = [name for char, name in _DELIMITERS.items() if char in text]
    return f"is CSV, or another table as text (its values are separated by {names[0]})" if names else ""


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
