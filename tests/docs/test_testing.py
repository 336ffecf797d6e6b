"""Check that the page about testing DAGs works in a user's folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from intercom_provider.sandbox import Sandbox
from intercom_provider.sandbox.settings import SandboxSettings

from .pages import ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "testing.md"


def run_pytest(folder: Path, *arguments: str, **variables: str) -> str:
    """Run pytest as a user does, without this project's own tests and settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "PYTEST_"))}
    ended = subprocess.run(  # noqa: S603 - the test's own words
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers", *arguments],
        cwd=folder,
        env={**own, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ended.stdout + ended.stderr


def lay_out(folder: Path) -> int:
    """Write the page's files into a folder and return the number of their tests."""
    files = [block for block in blocks(PAGE, "python") if block.file]
    for block in files:
        assert block.file
        path = folder / block.file
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text)
    return sum(block.text.count("\ndef test_") for block in files)


@pytest.mark.needs("dag_test_waits")
def test_a_user_can_test_a_dag_as_the_page_says(tmp_path: Path) -> None:
    number = lay_out(tmp_path)
    said = run_pytest(tmp_path)
    assert re.search(rf"= {number} passed", said), said


def test_a_secrets_backend_that_knows_the_connection_fails_the_test_before_it_runs(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["intercom_provider.testing"]')
    (tmp_path / "test_one.py").write_text("def test_one(intercom_sandbox): pass")
    stored = tmp_path / "connections.json"
    with Sandbox() as workspace:
        stored.write_text(f'{{"intercom_default": "intercom://:t@127.0.0.1:{workspace.url.rpartition(":")[2]}"}}')
        said = run_pytest(
            tmp_path,
            AIRFLOW_HOME=str(tmp_path),
            AIRFLOW__SECRETS__BACKEND="airflow.secrets.local_filesystem.LocalFilesystemBackend",
            AIRFLOW__SECRETS__BACKEND_KWARGS=f'{{"connections_file_path": "{stored}"}}',
        )
        assert not workspace.requests
    assert "the connection intercom_default does not lead to the sandbox" in said
    assert " passed" not in said


def test_the_page_names_every_option_of_the_sandbox() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in SandboxSettings.__slots__:
        assert f"`{name}`" in text


def test_a_dags_test_is_ten_lines() -> None:
    (test,) = [block for block in blocks(PAGE, "python") if block.file == "tests/test_welcome.py"]
    assert len(test.text.splitlines()) <= 10


def test_the_fixture_is_not_a_plugin_of_every_pytest_run_and_only_its_module_imports_pytest() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "pytest11" not in project
    users = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "intercom_provider").rglob("*.py")
        if re.search(r"^\s*(import|from) pytest", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert users == ["intercom_provider/testing.py"]
