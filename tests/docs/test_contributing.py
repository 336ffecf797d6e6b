"""Check that the map of the package in CONTRIBUTING.md shows the package as it is."""

from __future__ import annotations

import re

from .pages import ROOT, names, section, table

PAGE = ROOT / "CONTRIBUTING.md"
PACKAGE = ROOT / "intercom_provider"


def rooms() -> set[str]:
    """Return the package's folders, as the map writes them."""
    return {f"{path.parent.relative_to(PACKAGE)}/" for path in PACKAGE.glob("*/**/__init__.py")}


def test_the_map_has_a_line_for_each_room_and_each_module_of_the_root() -> None:
    shown = re.findall(r"^    (\S+/|(?:\w+\.py, )*\w+\.py) ", section(PAGE, "Where things are"), re.MULTILINE)
    listed = [name for line in shown for name in line.split(", ")]
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert sorted(listed) == sorted(rooms() | modules)


def test_the_table_of_imports_names_rooms_that_exist() -> None:
    rows = table(section(PAGE, "Which room may import which"), "room")
    named = {room for cell, _ in rows[:-1] for room in cell.split(", ")}
    assert named == {room.rstrip("/") for room in rooms() if room.count("/") == 1} | {"testing"}


def test_the_readme_names_every_target_that_ci_makes() -> None:
    made = set(re.findall(r"^make ([a-z-]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE))
    rows = table(section(ROOT / "README.md", "Demo and tests"), "command")
    listed = {name.removeprefix("make ") for cell, _ in rows for name in names(cell)}
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert made <= listed <= targets
