from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.measure import Cpu, Sample, in_turns
from benchmarks.table import Row, allowed, markdown

if TYPE_CHECKING:
    from collections.abc import Mapping


def row(ratio: float, target: Mapping[str, float] | None = None, *, cpu: str = "") -> Row:
    target = target or {}
    at_least, at_most = target.get("at_least"), target.get("at_most")
    return Row(what="sending", ours="900", other="200", ratio=ratio, at_least=at_least, at_most=at_most, cpu=cpu)


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
    assert row(ratio, target).holds is holds


def test_a_limit_is_compared_with_the_median() -> None:
    found = allowed("memory", Sample((90.0, 120.0, 95.0)), 100, "{:.0f} KiB")
    assert found.cells == ("memory", "95 KiB (90 KiB to 120 KiB)", "100 KiB allowed", "0.95", "at most 1", "yes")


def test_the_table_marks_a_missed_target() -> None:
    lines = markdown("Sending", [row(3.5, {"at_least": 4}), row(2.0)]).splitlines()
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


def test_a_table_of_rates_has_a_column_of_cpu() -> None:
    cpu = Cpu()
    for name in ("ours", "theirs"):
        with cpu.spent(name, 1_000):
            sum(range(100_000))
    assert cpu.sample("ours").median > 0
    lines = markdown("Sending", [row(2.0, cpu=cpu.told("ours", "theirs")), row(1.0)]).splitlines()
    columns = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert [cells[-1] for cells in columns if not cells[0].startswith("-")] == [
        "CPU a unit: this, other",
        cpu.told("ours", "theirs"),
        "",
    ]
