"""
Run the tests with each supported version of Airflow, on the lowest and the highest Python: `make test-matrix`.

A cell is a line of Airflow and a Python, such as `3.1-py3.11`. It has a virtual environment of its own, pinned with
hashes. A pre-release of Airflow is not pinned, and its tests may fail. Cells whose Python is missing here are not run.
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
# The line whose pre-release is tested. Once it is released, it gets a lock and moves to LOCKS.
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

_MAX_KEPT_BYTES: Final = 10_000
"""Of pytest's output, whose last line is its summary."""


@dataclass(frozen=True)
class Cell:
    """A version of Airflow on a Python."""

    airflow: str
    python: str

    @property
    def name(self) -> str:
        """The name of the cell on the command line."""
        return f"{self.airflow}-py{self.python}"

    @property
    def folder(self) -> Path:
        """The folder of its virtual environment."""
        return ENVIRONMENTS / self.name

    @property
    def own_python(self) -> str:
        """The Python that runs the tests."""
        return str(self.folder / "bin" / "python")


def find_python(version: str) -> str | None:
    """
    Find an interpreter on this machine.

    :param version: Its version, such as ``3.13``.
    :return: The path of the interpreter; None when there is none.
    """
    # pyenv's program for a version runs only when this variable names the version.
    environment = {**os.environ, "PYENV_VERSION": version}
    ask = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
    for program in (f"python{version}", sys.executable):
        if found := shutil.which(program):
            command = [found, "-c", ask]
            output = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout  # noqa: S603
            found_version, _, path = output.strip().partition(" ")
            if found_version == version:
                return path
    return None


def parse_cell(name: str) -> Cell:
    """
    Parse the name of a cell.

    :param name: A name such as ``3.1-py3.11``; ``lowest`` and ``highest`` take the lowest or highest Python found here.
    :return: The cell.
    :raises argparse.ArgumentTypeError: When there is no such cell.
    """
    if name == "lowest":
        return Cell(OLDEST, next((version for version in PYTHONS if find_python(version)), LOWEST))
    if name == "highest":
        return Cell(NEWEST, next((version for version in reversed(PYTHONS) if find_python(version)), HIGHEST))
    airflow, _, python = name.partition("-py")
    if airflow not in {*LOCKS, NEXT} or python not in PYTHONS:
        raise argparse.ArgumentTypeError(f"{name!r} is not a cell such as {CELLS[0]}, nor lowest, nor highest")
    return Cell(airflow, python)


def say(text: str) -> None:
    """Print a line at once, in order with the output of the programs that run."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(*command: str) -> None:
    """Run a program, and raise if it fails."""
    subprocess.run(command, check=True)  # noqa: S603 - our own commands


def install(cell: Cell, interpreter: str) -> None:
    """
    Create a cell's virtual environment, unless it is up to date.

    :param cell: The cell.
    :param interpreter: The Python for it.
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
        run(*pip, "--require-hashes", "--requirement", "requirements-uv.lock")
        uv = (str(cell.folder / "bin" / "uv"), "pip", "install", "--quiet", "--python", cell.own_python)
        run(*uv, "--no-deps", "--require-hashes", "--requirements", lock)
    else:
        # uv takes no pre-release of what a pre-release requires.
        run(*pip, NEXT_REQUIREMENT, *tomllib.loads(project.decode())["dependency-groups"]["tests"])
    run(*pip, "--no-deps", "--no-build-isolation", "--editable", ".")
    stamp.write_text(pinned)


def warning_options(cell: Cell) -> list[str]:
    """Return pytest's options for warnings, which are errors with the newest release of Airflow only."""
    return [] if cell.airflow == NEWEST else ["-o", "filterwarnings=default", "-p", "no:warnings"]


def run_tests(cell: Cell, arguments: list[str]) -> tuple[bool, str]:
    """
    Run the tests in a cell's environment.

    :param cell: The cell.
    :param arguments: More options for pytest.
    :return: Whether all passed, and pytest's last line.
    """
    command = [cell.own_python, "-m", "pytest", *warning_options(cell), *arguments]
    output = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:  # noqa: S603 - our own
        # Copied piece by piece, so that pytest's dots show before their line has ended.
        while process.stdout and (piece := process.stdout.read(65_536)):
            sys.stdout.buffer.write(piece)
            sys.stdout.flush()
            output = (output + piece)[-_MAX_KEPT_BYTES:]
    *_, last = output.decode(errors="replace").strip().splitlines() or ["pytest printed nothing"]
    return process.returncode == 0, last.strip("= ")


def run_cell(cell: Cell, arguments: list[str]) -> tuple[bool, str]:
    """
    Install a cell and run its tests.

    :param cell: The cell.
    :param arguments: More options for pytest.
    :return: Whether the matrix may pass with it, and a line for the summary.
    """
    interpreter = find_python(cell.python)
    if interpreter is None:
        return True, f"NOT RUN: there is no python{cell.python} on this machine"
    say(f"\n== {cell.name} ==")
    try:
        install(cell, interpreter)
    except subprocess.CalledProcessError as error:
        passed, summary = False, f"cannot be installed ({' '.join(error.cmd[-3:])})"
    else:
        passed, summary = run_tests(cell, arguments)
    if not passed and cell.airflow == NEXT:
        return True, f"{summary}; a pre-release may fail"
    return passed, summary if passed else f"FAILED: {summary}"


def main() -> int:
    """Run the named cells, or all of them, and print a summary."""
    parser = argparse.ArgumentParser(prog="make test-matrix", description=__doc__)
    parser.add_argument("cells", nargs="*", default=[*CELLS], metavar="CELL")
    parser.add_argument(
        "--pytest", nargs=argparse.REMAINDER, default=[], help="all that follows are options for pytest"
    )
    options = parser.parse_args()
    try:
        cells = {name: parse_cell(name) for name in options.cells}
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    started = time.monotonic()
    results = {name: run_cell(cell, options.pytest) for name, cell in cells.items()}
    say(f"\n== the matrix, in {time.monotonic() - started:.0f} s ==")
    for name, (_, summary) in results.items():
        alias = "" if name == cells[name].name else f" ({name})"
        say(f"  {cells[name].name}{alias}: {summary}")
    for alias, intended in (("lowest", f"{OLDEST}-py{LOWEST}"), ("highest", f"{NEWEST}-py{HIGHEST}")):
        if alias in cells and cells[alias].name != intended:
            say(f"  {intended}: NOT RUN: there is no python{intended.partition('-py')[2]} on this machine")
    return 0 if all(passed for passed, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
