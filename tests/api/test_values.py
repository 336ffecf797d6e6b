"""Users' values in the forms that templates and XCom give them."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from intercom_provider.api.values import as_datetime, is_missing


@pytest.mark.parametrize("value", [None, "", " ", "\n", "None", " None "])
def test_nothing_is_missing(value: object) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, False, [], {}, "0", "none at all", "none", "null", b""])
def test_something_is_not_missing(value: object) -> None:
    assert not is_missing(value)


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
def test_anything_but_a_time_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        as_datetime(value)


@pytest.mark.parametrize("seed", range(4))
def test_no_text_makes_parsing_a_time_fail_in_another_way(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    for _ in range(500):
        text = "".join(chance.choice("0123456789-+:.TZPWDHMS/ e\u00b2") for _ in range(chance.randint(0, 24)))
        try:
            moment = as_datetime(text)
        except ValueError:
            continue
        assert moment.tzinfo
