"""A home of its own for Airflow, before anything imports it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

pytest_plugins = [
    "tests.support.features",
    "tests.support.sandbox",
    "tests.support.dags",
    "tests.support.databases",
    "tests.support.pauses",
]

# The files that take longest, which begin first: no process shall have half of one left when the others have ended.
LONGEST = (
    "sensors/test_message_status_faults.py",
    "sending/test_begin_of_a_try.py",
    "sending/test_single.py",
    "operators/test_message.py",
    "sensors/test_message_reply.py",
    "sensors/test_message_status.py",
    "sensors/test_base.py",
    "operators/test_batch.py",
)

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files begin first."""
    items.sort(key=lambda item: not item.nodeid.split("::")[0].endswith(LONGEST))
