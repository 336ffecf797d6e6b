"""Which values of fields are checked when a DAG is parsed."""

from __future__ import annotations

from datetime import date

import pytest

from intercom_provider.fields import is_untemplated
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
