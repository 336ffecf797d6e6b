"""The tested versions are those that are declared, pinned and documented."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from noxfile import CELLS, LOCKS, NEXT, PYTHONS
from tests.docs.pages import ROOT, anchors, section, table
from tests.support.features import FEATURES, Feature
from tests.support.project import declared_pythons, metadata, pins

if TYPE_CHECKING:
    from pathlib import Path


def run(*cells: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    # A cell's own environment, where this runs too, has no uv.
    options = ("--force-venv-backend", "venv", "--envdir", str(folder))
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "nox", *options, "--session", *cells],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_pythons_are_those_that_are_declared() -> None:
    assert list(PYTHONS) == declared_pythons()
    assert metadata()["requires-python"] == f">={PYTHONS[0]}"
    assert f" PYENV_VERSION={':'.join(PYTHONS)} " in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_release_is_pinned_with_its_hash() -> None:
    for line, lock in LOCKS.items():
        assert pins(lock)["apache-airflow"].startswith(f"{line}.")
        assert pins(lock)["apache-airflow"] == pins(lock)["apache-airflow-core"]


def test_the_page_of_versions_lists_what_is_tested() -> None:
    rows = table(section(ROOT / "docs" / "versions.md", "What is tested"), "Airflow")
    lines = [".".join(airflow.split(".")[:2]) for airflow, *_ in rows]
    assert [f"{line}-py{python}" for line, (_, python, *_) in zip(lines, rows, strict=True)] == list(CELLS)
    for line, (airflow, *_) in zip(lines, rows, strict=True):
        if line != NEXT:
            assert airflow == pins(LOCKS[line])["apache-airflow"]


@pytest.mark.parametrize("feature", FEATURES.values(), ids=FEATURES)
def test_a_page_explains_every_feature_that_an_airflow_may_lack(feature: Feature) -> None:
    page, _, anchor = feature.documented.partition("#")
    assert (ROOT / page).is_file()
    if anchor:
        assert anchor in anchors(ROOT / page)


def test_a_cell_whose_python_is_missing_is_skipped(tmp_path: Path) -> None:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    other = next(version for version in PYTHONS if version != own)
    ended = run(f"3.3-py{other}", folder=tmp_path, PATH="", UV_PYTHON_INSTALL_DIR=str(tmp_path), CI="true")
    assert ended.returncode == 0, ended.stderr
    assert f"Session 3.3-py{other} skipped: Python interpreter {other} not found" in ended.stderr


def test_a_name_that_is_not_a_cell_is_refused(tmp_path: Path) -> None:
    ended = run("lowest", "3.3", "3.3-py3.9", folder=tmp_path)
    assert ended.returncode != 0
    assert "Sessions not found: 3.3, 3.3-py3.9\n" in ended.stderr
