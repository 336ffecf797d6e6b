from __future__ import annotations

import pytest

from benchmarks.measure import Sample, in_turns
from benchmarks.table import Row, allowed, markdown


def row(ratio: float, **target: float) -> Row:
    return Row(what="sending", ours="900", other="200", ratio=ratio, **target)


@pytest.mark.parametrize(
    ("ratio", "target", "holds"),
    [
        (4.5, {}, True),
        (4.5, {"at_least": 4}, True),
        (4.0, {"at_least": 4}, True),
        (3.99, {"at_least": 4}, False),
        (1.5, {"at_most": 1.5}, True),
        (1.51, {"at_most": 1.5}, False),
    ],
)
def test_a_target_is_met_or_missed(ratio: float, target: dict[str, float], holds: bool) -> None:
    assert row(ratio, **target).holds is holds


def test_a_limit_is_compared_with_the_median() -> None:
    found = allowed("memory", Sample((90.0, 120.0, 95.0)), 100, "{:.0f} KiB")
    assert found.cells == ("memory", "95 KiB (90 KiB to 120 KiB)", "100 KiB allowed", "0.95", "at most 1", "yes")


def test_the_table_marks_a_missed_target() -> None:
    lines = markdown("Sending", [row(3.5, at_least=4), row(2.0)]).splitlines()
    assert lines[0] == "## Sending"
    assert [cell.strip() for cell in lines[4].split("|")[1:-1]] == [
        "sending",
        "900",
        "200",
        "3.5",
        "at least 4",
        "**no**",
    ]
    assert [cell.strip() for cell in lines[5].split("|")[1:-1]] == ["sending", "900", "200", "2", "", ""]


def test_contenders_take_turns_in_the_opposite_order_every_other_round() -> None:
    called: list[str] = []

    def contender(name: str) -> float:
        called.append(name)
        return float(len(called))

    found = in_turns({name: lambda name=name: contender(name) for name in "ab"}, rounds=3)  # type: ignore[misc]
    assert called == ["a", "b", "b", "a", "a", "b"]
    assert found["a"].median == 4.0
