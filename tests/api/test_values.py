from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, overload

import pytest

from intercom_provider.api.values import as_datetime, is_missing, parse_json_text
from intercom_provider.fields import is_untemplated


class Lazy(Sequence[Any]):
    """A sequence of a type of its own, as Airflow hands over."""

    def __init__(self, *entries: Any) -> None:
        self._entries = entries

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)


@pytest.mark.parametrize("value", [None, "", " ", "\n", "None", " None "])
def test_nothing_is_missing(value: object) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, False, [], {}, "0", "none at all", "none", "null", b""])
def test_something_is_not_missing(value: object) -> None:
    assert not is_missing(value)


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
        (None, None),
        (5, 5),
    ],
)
def test_data_is_what_it_was_before_a_template_made_it_text(value: object, data: object) -> None:
    assert parse_json_text(value) == data


@pytest.mark.parametrize("value", ["plain", 5, None, True, 0.5, date(2024, 1, 1), [1, ["a"]], {"a": {"b": (1, "c")}}])
def test_what_holds_no_template_is_literal(value: object) -> None:
    assert is_untemplated(value)


@pytest.mark.parametrize(
    "value", ["{{ x }}", "a {% if b %}c{% endif %}", ["a", "{{ x }}"], {"a": ["{{ x }}"]}, object(), Lazy("a"), {1, 2}]
)
def test_what_is_known_only_when_the_task_runs_is_not_literal(value: object) -> None:
    assert not is_untemplated(value)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("1714564800.5", datetime(2024, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=UTC)),
        ("20240501", datetime(2024, 5, 1, tzinfo=UTC)),
        ("20240501T120000Z", datetime(2024, 5, 1, 12, tzinfo=UTC)),
        (datetime(2024, 5, 1), datetime(2024, 5, 1, tzinfo=UTC)),  # noqa: DTZ001
    ],
)
def test_a_time_is_read(value: object, moment: datetime) -> None:
    assert as_datetime(value) == moment


@pytest.mark.parametrize(
    "value",
    [None, True, [], {}, "", "soon", "P1D", "2024-13-01", "2024-02-30", "1e400", "--1", "\u00b2", "nan", float("nan"),
     float("inf"), 10**400, 1e300, b"0", "2024-01-01/2024-02-01", "9" * 400],
)  # fmt: skip
def test_what_is_no_time_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        as_datetime(value)


@pytest.mark.parametrize("seed", range(4))
def test_no_text_makes_reading_a_time_fail_in_another_way(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    for _ in range(500):
        text = "".join(chance.choice("0123456789-+:.TZPWDHMS/ e\u00b2") for _ in range(chance.randint(0, 24)))
        try:
            moment = as_datetime(text)
        except ValueError:
            continue
        assert moment.tzinfo
