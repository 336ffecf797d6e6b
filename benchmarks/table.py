"""Render the results of a run as Markdown, with the machine and the versions."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.measure import Sample

_PACKAGES: Final = (
    "airflow-provider-intercom",
    "apache-airflow",
    "httpx",
    "pydantic",
    "python-intercom",
    "aiohttp",
    "urllib3",
    "uvicorn",
)
_HEADS: Final = ("what", "this provider", "the other", "ratio", "target", "holds")
_CPU_HEAD: Final = "CPU a unit: this, other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One comparison.

    :param what: The name of what is compared.
    :param ours: The result of this provider.
    :param other: The result of the other code, or the limit.
    :param ratio: The ratio of the two.
    :param at_least: The minimum of the ratio; None for no such target.
    :param at_most: The maximum of the ratio; None for no such target.
    :param cpu: The CPU that a unit took here and there, beside a rate; empty (default) for none.
    """

    what: str
    ours: str
    other: str
    ratio: float
    at_least: float | None = None
    at_most: float | None = None
    cpu: str = ""

    @property
    def holds(self) -> bool:
        """Whether the target is met; true when there is none."""
        return (self.at_least is None or self.ratio >= self.at_least) and (
            self.at_most is None or self.ratio <= self.at_most
        )

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the row."""
        target = "" if self.at_least is None else f"at least {self.at_least:g}"
        target = target if self.at_most is None else f"at most {self.at_most:g}"
        holds = ("yes" if self.holds else "**no**") if target else ""
        return (self.what, self.ours, self.other, f"{self.ratio:.3g}", target, holds)


def allowed(what: str, found: Sample, limit: float, form: str) -> Row:
    """
    Compare a sample with a limit.

    :param what: The name of what was measured.
    :param found: The sample.
    :param limit: The maximum.
    :param form: The format of a number.
    :return: The row.
    """
    other = f"{form.format(limit)} allowed"
    return Row(what=what, ours=found.told(form), other=other, ratio=found.median / limit, at_most=1)


def markdown(title: str, rows: Sequence[Row]) -> str:
    """
    Render rows as a table.

    :param title: The heading above it.
    :param rows: The rows; empty for a scenario that failed.
    :return: Markdown with aligned columns, which is readable as plain text too.
    """
    if not rows:
        return f"## {title}\n\nThe scenario failed.\n"
    lines = [_HEADS, *(row.cells for row in rows)]
    if any(row.cpu for row in rows):
        lines = [(*line, cpu) for line, cpu in zip(lines, [_CPU_HEAD, *(row.cpu for row in rows)], strict=True)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join([f"## {title}", "", *(f"| {' | '.join(line)} |" for line in padded), ""])


def document(tables: Mapping[str, Sequence[Row]], load: float) -> str:
    """
    Render all tables of a run, with the machine and the versions.

    :param tables: The rows of each scenario by its title.
    :param load: The machine's load average before the run.
    :return: Markdown.
    """
    head = [
        "# What `make bench` measured",
        "",
        f"- Date: {datetime.now(UTC):%Y-%m-%d}",
        f"- Machine: {os.cpu_count()} cores, {_processor()}, {platform.system()}; load before the run {load:.1f}",
        f"- Versions: Python {platform.python_version()}, {', '.join(_versions())}",
        "",
        "Everything ran in one run on one machine, the sandbox (a local Intercom) in a process of its own on the same",
        "cores. Numbers are medians of several rounds in turns, with minimum and maximum in brackets. Only the ratios",
        "carry over to another machine, and the busier that machine is, the less they do.",
        "",
    ]
    return "\n".join([*head, *(markdown(title, rows) for title, rows in tables.items())])


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.is_file() else None
    return found[1] if found else platform.machine()


def _versions() -> list[str]:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return found
