"""Read the documentation as its readers do: pages, sections, blocks of code, tables, links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# Marks a block that asks Intercom, or whose DAGs the tests run: it gets a sandbox.
RUNS = "<!-- runs -->"
# Marks a block that is a file of its own, in a folder that a reader makes.
_FILE = re.compile(r"<!-- file: (\S+) -->$")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code and the line on which its code begins."""

    language: str
    text: str
    line: int
    runs: bool
    file: str | None


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return a page's blocks of code in these languages."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            language=found[1],
            text=found[2],
            line=text.count("\n", 0, found.start()) + 2,
            runs=text[: found.start()].rstrip().endswith(RUNS),
            file=file[1] if (file := _FILE.search(text[: found.start()].rstrip())) else None,
        )
        for found in _FENCE.finditer(text)
        if found[1] in languages
    ]


def prose(page: Path) -> str:
    """Read a page without its blocks of code."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def section(page: Path, heading: str) -> str:
    """Return the text between a heading and the next one."""
    # A comment in a block of code begins as a heading does.
    text = _FENCE.sub(lambda block: re.sub(r"(?m)^#", " #", block[0]), page.read_text(encoding="utf-8"))
    _, _, rest = text.partition(f"# {heading}\n")
    assert rest, f"{page.name} has no section {heading}"
    return _HEADING.split(rest)[0]


def table(text: str, first_column: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this title, without its head."""
    _, _, rest = text.partition(f"| {first_column} |")
    assert rest, f"no table has the column {first_column}"
    rows = []
    for line in rest.splitlines()[2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def names(cell: str) -> list[str]:
    """Return the names in a cell that are set as code."""
    return re.findall(r"`([^`]+)`", cell)


def links(page: Path) -> list[str]:
    """Return the targets of a page's links."""
    return find_links(prose(page))


def find_links(text: str) -> list[str]:
    """Return the targets of the links in a text."""
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(prose(page))}
