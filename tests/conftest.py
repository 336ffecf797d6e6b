"""A home of its own for Airflow, before anything imports it; and one sandbox for all tests of a process."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from intercom_provider.sandbox import Sandbox
    from intercom_provider.sandbox.settings import Options

pytest_plugins = ["tests.features"]

HOMES = Path(__file__).resolve().parent.parent / ".airflow"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Whoever started this process has a home as well, and removes it when all have ended, even one that was killed.
    HOMES = Path(os.environ["AIRFLOW_HOME"])
HOMES.mkdir(exist_ok=True)
HOME = Path(tempfile.mkdtemp(prefix="test-", dir=HOMES))
HOME.joinpath("dags").mkdir()
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__API_AUTH__JWT_SECRET": "a secret for tests alone, long enough for its algorithm",
}
for name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_")]:
    del os.environ[name]


@pytest.fixture(scope="session")
def running() -> Iterator[Sandbox]:
    """Start one server for all tests: starting and stopping one costs more than most of them."""
    from intercom_provider.sandbox import Sandbox

    with Sandbox() as sandbox:
        yield sandbox


def as_new(sandbox: Sandbox, **options: Unpack[Options]) -> Sandbox:
    """Give a sandbox other settings, and let it forget what happened."""
    from intercom_provider.sandbox.settings import Settings

    settings = Settings(**options)
    for each in fields(Settings):
        setattr(sandbox.settings, each.name, getattr(settings, each.name))
    sandbox.reset()
    return sandbox
