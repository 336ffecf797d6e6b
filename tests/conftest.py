"""A home of its own for Airflow, before anything imports it."""

from __future__ import annotations

import atexit
import os
import shutil
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent / ".airflow" / f"test-{os.getpid()}"
HOME.joinpath("dags").mkdir(parents=True)
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__API_AUTH__JWT_SECRET": "a secret for tests alone, long enough for its algorithm",
}
for name in [name for name in os.environ if name.startswith("AIRFLOW_CONN_")]:
    del os.environ[name]
