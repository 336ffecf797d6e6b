"""The wheel and the source distribution, and what Airflow discovers of the provider."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

from airflow.providers_manager import ProvidersManager

import intercom_provider
from tests.support.project import PROJECT, metadata, pins

if TYPE_CHECKING:
    from pathlib import Path


def test_the_wheel_holds_the_package_and_no_tests(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(PROJECT)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command
    (wheel,) = tmp_path.glob("airflow_provider_intercom-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {
        "intercom_provider",
        "airflow_provider_intercom",
    }
    assert "intercom_provider/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    package = {str(path.relative_to(PROJECT)) for path in (PROJECT / "intercom_provider").rglob("*.py")}
    assert package <= names
    static = {str(path.relative_to(PROJECT)) for path in (PROJECT / "intercom_provider" / "ui" / "static").iterdir()}
    assert static
    assert static <= names


def test_the_source_distribution_holds_every_file_of_the_project(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(PROJECT)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command
    (archive,) = tmp_path.glob("airflow_provider_intercom-*.tar.gz")
    with tarfile.open(archive) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    assert not [name for name in held if "__pycache__" in name or name.endswith(".pyc")]
    assert {"CONTRIBUTING.md", "Makefile", "requirements.lock", "tests/packaging/test_distribution.py"} <= held
    if not (PROJECT / ".git").exists():
        # These tests run from an unpacked source distribution.
        return
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, check=True, capture_output=True, text=True)  # noqa: S607 - wherever git is
    assert {name for name in tracked.stdout.splitlines() if (PROJECT / name).exists()} <= held


def test_airflow_discovers_the_provider_and_its_classes() -> None:
    manager = ProvidersManager()  # type: ignore[no-untyped-call]  # Airflow has no annotation here
    manager.initialize_providers_list()
    provider = manager.providers["airflow-provider-intercom"]
    assert provider.version == intercom_provider.__version__
    modules = {
        kind: [module for entry in provider.data[kind] for module in entry["python-modules"]]
        for kind in ("hooks", "operators", "sensors", "triggers")
    }
    assert modules == {
        "hooks": ["intercom_provider.hooks.intercom"],
        "operators": ["intercom_provider.operators.message"],
        "sensors": ["intercom_provider.sensors.message_reply", "intercom_provider.sensors.message_status"],
        "triggers": [
            "intercom_provider.triggers.message_reply",
            "intercom_provider.triggers.message_status",
            "intercom_provider.triggers.ruleset",
        ],
    }
    assert provider.data["cli"] == ["intercom_provider.cli.get_commands"]
    assert provider.data["extra-links"] == [
        "intercom_provider.links.IntercomLink",
        "intercom_provider.links.DeliveryLink",
    ]
    assert provider.data["notifications"] == ["intercom_provider.notifications.message.IntercomNotifier"]
    types = provider.data["connection-types"]
    assert [entry["connection-type"] for entry in types] == ["intercom"]


def test_airflows_configuration_has_the_providers_section() -> None:
    command = [sys.executable, "-m", "airflow", "config", "get-value", "intercom", "ledger_table"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=PROJECT)  # noqa: S603 - our own
    assert ended.stdout.splitlines()[-1:] == ["intercom_messages"], ended.stderr


def test_only_the_named_libraries_are_needed_at_run_time() -> None:
    names = {re.split(r"[<>=]", requirement)[0] for requirement in metadata()["dependencies"]}
    assert names == {"apache-airflow", "httpx", "pendulum", "pydantic"}


def test_the_lock_pins_every_package_of_the_tests_with_its_hash() -> None:
    pinned = pins("requirements.lock").keys()
    assert {"apache-airflow", "httpx", "pydantic", "pendulum", "pytest", "ruff", "mypy"} <= pinned


def test_provider_info_which_every_airflow_process_imports_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules); import intercom_provider, intercom_provider.get_provider_info as info;"
        "info.get_provider_info(); print(sorted(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout  # noqa: S603
    assert out.strip() == "['intercom_provider', 'intercom_provider.get_provider_info']"
