from __future__ import annotations

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.fields import parse_limit


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        (0, 0), (5, 5), ("0", 0), ("5", 5), (" 5 ", 5), (0.05, 0.05), ("0.05", 0.05), (0.999, 0.999), (None, None),
        (10**30, 10**30),
    ],
)  # fmt: skip
def test_a_limit_is_read(given: object, limit: object) -> None:
    read = parse_limit("max_failed", given)
    assert (read, type(read)) == (limit, type(limit))


@pytest.mark.parametrize(
    "given",
    [True, False, 1.0, 0.0, 1.5, -1, -0.5, "1.0", "0.0", "-1", "many", "", "5%", "nan", "inf", float("nan"),
     float("inf"), [], [5], {}, b"5", "\u00b2", "True"],
)  # fmt: skip
def test_a_limit_out_of_range_is_refused(given: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_limit("max_failed", given)
    [problem] = caught.value.problems
    assert problem.field == "max_failed"
    assert "0 and 1" in problem.text
