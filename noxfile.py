"""
Run the tests with each supported version of Airflow, on the lowest and the highest Python: `make test-matrix`.

A cell is a line of Airflow and a Python, such as `3.1-py3.11`. It has a virtual environment of its own, pinned with
hashes. A pre-release of Airflow is not pinned, and its tests may fail. Cells whose Python is missing here are skipped.
"""

from __future__ import annotations

from typing import Final

import nox
from nox.command import CommandFailed
from python_discovery import get_interpreter

PYTHONS: Final = ("3.11", "3.12", "3.13")
LOCKS: Final = {"3.1": "requirements-3.1.lock", "3.2": "requirements-3.2.lock", "3.3": "requirements.lock"}
# The line whose pre-release is tested. Once it is released, it gets a lock and moves to LOCKS.
NEXT: Final = "3.4"
# uv takes a pre-release only of what is named here, so the parts of Airflow that are released with it are named, too.
NEXT_REQUIREMENTS: Final = (
    "apache-airflow>=3.4.0.dev0,<3.5",
    "apache-airflow-core>=3.4.0.dev0",
    "apache-airflow-task-sdk>=1.4.0.dev0",
)

OLDEST, *_, NEWEST = LOCKS
LOWEST, *_, HIGHEST = PYTHONS
CELLS: Final = (
    *(f"{airflow}-py{LOWEST}" for airflow in LOCKS),
    f"{NEWEST}-py{HIGHEST}",
    f"{NEXT}-py{HIGHEST}",
)

nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.envdir = ".venv-matrix"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"


def run_tests(session: nox.Session) -> None:
    """Bring a cell's virtual environment up to date, and run the tests there."""
    airflow, _, _ = session.name.partition("-py")
    try:
        if airflow == NEXT:
            session.install("--upgrade", *NEXT_REQUIREMENTS, "--group", "tests")
        else:
            session.run_install(
                "uv", "pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes", LOCKS[airflow]
            )
        session.install("--reinstall", "--no-deps", "--no-build-isolation", "--editable", ".")
        # Older versions, and pre-releases, warn of their own code.
        lenient = () if airflow == NEWEST else ("-o", "filterwarnings=default", "-p", "no:warnings")
        session.run("python", "-m", "pytest", *lenient, *session.posargs)
    except CommandFailed:
        if airflow != NEXT:
            raise
        session.skip("failed, as a pre-release may")


for airflow in (*LOCKS, NEXT):
    for python in PYTHONS:
        cell = f"{airflow}-py{python}"
        nox.session(name=cell, python=python, default=cell in CELLS)(run_tests)


def queue(session: nox.Session, airflow: str, pythons: tuple[str, ...]) -> None:
    """Queue an Airflow's cell with the first of the Pythons that is found on this machine."""
    found = next(filter(get_interpreter, pythons), pythons[0])
    cell = f"{airflow}-py{found}"
    session.notify(cell)
    missing = "" if found == pythons[0] else f"Python interpreter {pythons[0]} not found, "
    # Skipped, because a success of its own would say nothing of the cell's.
    session.skip(f"{missing}{cell} runs instead")


@nox.session(python=False, default=False)
def lowest(session: nox.Session) -> None:
    """Test the oldest Airflow on the lowest Python found here."""
    queue(session, OLDEST, PYTHONS)


@nox.session(python=False, default=False)
def highest(session: nox.Session) -> None:
    """Test the newest Airflow on the highest Python found here."""
    queue(session, NEWEST, PYTHONS[::-1])
