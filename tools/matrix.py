"""
Run the tests with each supported version of Airflow, on the lowest and the highest Python: `make test-matrix`.

A cell is a line of Airflow and a Python, such as `3.1-py3.11`. It has a virtual environment of its own, pinned with
hashes. What is not released yet is not pinned, and may fail. A Python that is not on this machine leaves its cell out.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PYTHONS: Final = ("3.11", "3.12", "3.13")
LOCKS: Final = {"3.1": "requirements-3.1.lock", "3.2": "requirements-3.2.lock", "3.3": "requirements.lock"}
# The line whose pre-release is tried: a release of it gets a lock, and moves up.
NEXT: Final = "3.4"
NEXT_REQUIREMENT: Final = "apache-airflow>=3.4.0.dev0,<3.5"

OLDEST, *_, NEWEST = LOCKS
LOWEST, *_, HIGHEST = PYTHONS
CELLS: Final = (
    *(f"{airflow}-py{LOWEST}" for airflow in LOCKS),
    f"{NEWEST}-py{HIGHEST}",
    f"{NEXT}-py{HIGHEST}",
)
ENVIRONMENTS: Final = Path(".venv-matrix")


@dataclass(frozen=True)
class Cell:
    """A version of Airflow on a Python."""

    airflow: str
    python: str

    @property
    def name(self) -> str:
        """Say which it is, as on the command line."""
        return f"{self.airflow}-py{self.python}"

    @property
    def folder(self) -> Path:
        """Tell where its virtual environment is."""
        return ENVIRONMENTS / self.name

    @property
    def own_python(self) -> str:
        """Tell which program runs the tests."""
        return str(self.folder / "bin" / "python")


def find_python(version: str) -> str | None:
    """
    Find an interpreter on this machine.

    :param version: Its version, such as ``3.13``.
    :return: A program that is one; None when there is none.
    """
    # pyenv has a program for each version, and runs it only when it is told to.
    environment = {**os.environ, "PYENV_VERSION": version}
    ask = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
    for program in (f"python{version}", sys.executable):
        if found := shutil.which(program):
            command = [found, "-c", ask]
            said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout  # noqa: S603
            what, _, where = said.strip().partition(" ")
            if what == version:
                return where
    return None


def read_cell(name: str) -> Cell:
    """
    Read a cell's name.

    :param name: Such as ``3.1-py3.11``; ``lowest`` and ``highest`` are those that this machine can run.
    :return: The cell.
    :raises argparse.ArgumentTypeError: When there is no such cell.
    """
    if name == "lowest":
        return Cell(OLDEST, next((version for version in PYTHONS if find_python(version)), LOWEST))
    if name == "highest":
        return Cell(NEWEST, next((version for version in reversed(PYTHONS) if find_python(version)), HIGHEST))
    airflow, _, python = name.partition("-py")
    if airflow not in {*LOCKS, NEXT} or python not in PYTHONS:
        raise argparse.ArgumentTypeError(f"{name!r} is no cell such as {CELLS[0]}, nor lowest, nor highest")
    return Cell(airflow, python)


def say(text: str) -> None:
    """Show a line at once, between those of the programs that run."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(*command: str) -> None:
    """Run a program to its end."""
    subprocess.run(command, check=True)  # noqa: S603 - commands of this module


def install(cell: Cell, interpreter: str) -> None:
    """
    Make a cell's virtual environment, unless the same has been made before.

    :param cell: The cell.
    :param interpreter: The Python to make it of.
    :raises subprocess.CalledProcessError: When something cannot be installed.
    """
    project = Path("pyproject.toml").read_bytes()
    lock = LOCKS.get(cell.airflow)
    pinned = hashlib.sha256(project + Path(lock).read_bytes()).hexdigest() if lock else ""
    stamp = cell.folder / ".installed"
    if pinned and stamp.is_file() and stamp.read_text() == pinned:
        return
    say(f"Making the virtual environment {cell.folder} (a minute or two)")
    run(interpreter, "-m", "venv", "--clear", str(cell.folder))
    pip = (cell.own_python, "-m", "pip", "install", "--quiet")
    if lock:
        run(*pip, "--no-deps", "--require-hashes", "--requirement", lock)
    else:
        run(*pip, NEXT_REQUIREMENT, *tomllib.loads(project.decode())["dependency-groups"]["tests"])
    run(*pip, "--no-deps", "--no-build-isolation", "--editable", ".")
    stamp.write_text(pinned)


def warnings_of(cell: Cell) -> list[str]:
    """Tell pytest that an older or a future Airflow warns of itself; with the newest release a warning is an error."""
    return [] if cell.airflow == NEWEST else ["-o", "filterwarnings=default", "-p", "no:warnings"]


def run_tests(cell: Cell, arguments: list[str]) -> tuple[bool, str]:
    """
    Run the tests in a cell's environment.

    :param cell: The cell.
    :param arguments: More of pytest's own.
    :return: Whether all passed, and pytest's last line.
    """
    command = [cell.own_python, "-m", "pytest", *warnings_of(cell), *arguments]
    said = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:  # noqa: S603 - our own
        # As it comes: pytest's dots are to be seen before their line has ended.
        while process.stdout and (piece := process.stdout.read(65_536)):
            sys.stdout.buffer.write(piece)
            sys.stdout.flush()
            said = (said + piece)[-10_000:]
    *_, last = said.decode(errors="replace").strip().splitlines() or ["pytest said nothing"]
    return process.returncode == 0, last.strip("= ")


def judge(cell: Cell, arguments: list[str]) -> tuple[bool, str]:
    """
    Do all that a cell needs.

    :param cell: The cell.
    :param arguments: More of pytest's own.
    :return: Whether it is as it should be, and what to say of it.
    """
    interpreter = find_python(cell.python)
    if interpreter is None:
        return True, f"NOT RUN: there is no python{cell.python} on this machine"
    say(f"\n== {cell.name} ==")
    try:
        install(cell, interpreter)
    except subprocess.CalledProcessError as error:
        passed, said = False, f"cannot be installed ({' '.join(error.cmd[-3:])})"
    else:
        passed, said = run_tests(cell, arguments)
    if not passed and cell.airflow == NEXT:
        return True, f"{said}; a pre-release may fail"
    return passed, said if passed else f"FAILED: {said}"


def main() -> int:
    """Run the cells that were named, or all, and say what came of each."""
    parser = argparse.ArgumentParser(prog="make test-matrix", description=__doc__)
    parser.add_argument("cells", nargs="*", default=[*CELLS], metavar="CELL")
    parser.add_argument("--pytest", nargs=argparse.REMAINDER, default=[], help="what follows are pytest's options")
    options = parser.parse_args()
    try:
        cells = {name: read_cell(name) for name in options.cells}
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    began = time.monotonic()
    ended = {name: judge(cell, options.pytest) for name, cell in cells.items()}
    say(f"\n== the matrix, in {time.monotonic() - began:.0f} s ==")
    for name, (_, said) in ended.items():
        alias = "" if name == cells[name].name else f" ({name})"
        say(f"  {cells[name].name}{alias}: {said}")
    for alias, true in (("lowest", f"{OLDEST}-py{LOWEST}"), ("highest", f"{NEWEST}-py{HIGHEST}")):
        if alias in cells and cells[alias].name != true:
            say(f"  {true}: NOT RUN: there is no python{true.partition('-py')[2]} on this machine")
    return 0 if all(passed for passed, _ in ended.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
