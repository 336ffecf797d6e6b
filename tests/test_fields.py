"""Reading what DAG authors write into fields."""

from __future__ import annotations

from datetime import date

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.fields import is_untemplated, parse_limit
from tests.support.lazy import Lazy


@pytest.mark.parametrize("value", ["plain", 5, None, True, 0.5, date(2024, 1, 1), [1, ["a"]], {"a": {"b": (1, "c")}}])
def test_values_without_a_template_are_untemplated(value: object) -> None:
    assert is_untemplated(value)


@pytest.mark.parametrize(
    "value",
    ["{{ x }}", "a {% if b %}c{% endif %}", ["a", "{{ x }}"], {"a": ["{{ x }}"]}, object(), Lazy("a"), {1, 2}],
)
def test_values_that_are_known_only_when_the_task_runs_are_not_untemplated(value: object) -> None:
    assert not is_untemplated(value)


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
