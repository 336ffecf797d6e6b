"""The tested versions are those that are declared, pinned and documented."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT, anchors, section, table
from tests.support.features import FEATURES, Feature
from tests.support.project import declared_pythons, metadata, pins
from tools.matrix import CELLS, LOCKS, NEXT, PYTHONS


def run(*cells: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "tools.matrix", *cells],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_pythons_are_those_that_are_declared() -> None:
    assert list(PYTHONS) == declared_pythons()
    assert metadata()["requires-python"] == f">={PYTHONS[0]}"


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


def test_a_cell_whose_python_is_missing_is_reported_as_not_run() -> None:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    other = next(version for version in PYTHONS if version != own)
    ended = run(f"3.3-py{other}", PATH="")
    assert ended.returncode == 0, ended.stderr
    assert f"3.3-py{other}: NOT RUN: there is no python{other} on this machine\n" in ended.stdout


@pytest.mark.parametrize("name", ["2.11-py3.11", "3.3", "3.3-py3.9", "everything"])
def test_a_name_that_is_not_a_cell_is_refused(name: str) -> None:
    ended = run(name)
    assert ended.returncode == 2
    assert f"{name!r} is not a cell such as 3.1-py3.11, nor lowest, nor highest" in ended.stderr
