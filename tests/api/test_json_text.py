"""JSON that people write, and that templates turn into text."""

from __future__ import annotations

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.json_text import RepeatedKeyError, load_json, parse_json_text, read_json
from tests.support.lazy import Lazy

REPEATED = [
    ('{"phone": "+1", "phone": "+2"}', "phone"),
    ('{"phone": "+1", "phone": "+1"}', "phone"),
    ('{"phone": "+1", "\\u0070hone": "+2"}', "phone"),
    ('{"a": {"b": 1, "b": null}}', "b"),
    ('[{"a": 1}, {"a": 1, "c": 2, "b": 3, "c": 4}]', "c"),
    ('{"a": {"id": 1, "id": 2}, "a": 3}', "id"),
    ('{"": 1, "": 2}', ""),
]


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ('[1, "a"]', [1, "a"]),
        ("[1, 'a', None]", [1, "a", None]),
        (' {"a": true}\n', {"a": True}),
        ("{'a': True}", {"a": True}),
        ((1, 2), [1, 2]),
        (Lazy(1, {"a": 2}), [1, {"a": 2}]),
        ([1], [1]),
        ({"a": 1}, {"a": 1}),
        ("wamid.1", "wamid.1"),
        ("(1, 2)", "(1, 2)"),
        ("[broken", "[broken"),
        ("{broken}", "{broken}"),
        ("[" * 200_000, "[" * 200_000),
        ("[__import__('os')]", "[__import__('os')]"),
        (b"[1]", b"[1]"),
        ("{{1}}", "{{1}}"),
        ("[{[]: 1}]", "[{[]: 1}]"),
        ('[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
        ('{"a": {"a": 1}}', {"a": {"a": 1}}),
        ("{'a': {'a': None}}", {"a": {"a": None}}),
        ("{**{'a': 1}}", "{**{'a': 1}}"),
        (None, None),
        (5, 5),
    ],
)
def test_data_is_restored_from_the_text_of_a_template(value: object, data: object) -> None:
    assert parse_json_text("to", value) == data


@pytest.mark.parametrize(("text", "key"), REPEATED)
def test_a_key_that_stands_twice_is_an_error_that_names_it(text: str, key: str) -> None:
    with pytest.raises(RepeatedKeyError, match=f"the key '{key}' twice"):
        load_json(text)
    with pytest.raises(InvalidInputError, match=f"^to: has the key '{key}' twice"):
        parse_json_text("to", text)
    with pytest.raises(InvalidInputError, match=f"^--to: has the key '{key}' twice"):
        read_json("--to", text, "must be JSON")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{'phone': '+1', 'phone': '+2'}", "'phone'"),
        ("[{'a': (1, {'b': None, 'b': True})}]", "'b'"),
        ("{1: 'a', True: 'b'}", "True"),
        ("{(1, 2): 'a', (1, 2): 'b'}", "\\(1, 2\\)"),
    ],
)
def test_a_key_that_stands_twice_is_an_error_also_as_python_prints_it(text: str, key: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^to: has the key {key} twice"):
        parse_json_text("to", text)


def test_a_long_key_is_not_quoted_in_full() -> None:
    key = "k" * 100_000
    with pytest.raises(RepeatedKeyError) as refused:
        load_json(f'{{"{key}": 1, "{key}": 2}}')
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("text", ["", "{", "[1,]", "[" * 100_000, b"\xff"])
def test_what_is_not_json_is_an_error_in_the_fields_own_words(text: str | bytes) -> None:
    with pytest.raises(InvalidInputError, match=r"^--to: must be JSON$"):
        read_json("--to", text, "must be JSON")
