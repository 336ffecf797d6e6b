"""An Airflow on PostgreSQL, two Celery workers, and a sandbox with one rate limit for all."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from demo.machinery import Sandbox, sandbox
from tests.distributed.servers import serving
from tests.support.airflow_instance import AirflowInstance, end_on_signals
from tests.support.debian import MissingError
from tests.support.eventually import until
from tests.support.project import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.distributed.servers import Servers

HOME: Final = PROJECT / ".airflow" / "distributed"
DAG_ID: Final = "whatsapp_campaign_over_workers"
WORKERS: Final = ("worker-1", "worker-2")
SLOTS: Final = 2
LIMIT: Final = 1_000
"""The requests that the sandbox allows in each 10 seconds, from all workers together."""

_READY: Final = " ready."
"""What a worker logs when it takes tasks."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Print the folder of the logs if a test failed."""
    if exitstatus and HOME.is_dir():
        terminalreporter.write_line(f"The logs: {HOME.relative_to(PROJECT)}/*.log, and in airflow/logs there")


@pytest.fixture(scope="session")
def home() -> Path:
    """Return the folder for all files of these tests."""
    HOME.mkdir(parents=True, exist_ok=True)
    end_on_signals()
    return HOME


@pytest.fixture(scope="session")
def intercom(home: Path) -> Iterator[Sandbox]:
    """Start a sandbox in a process of its own, in which some messages fail and deliveries take minutes."""
    options = {"rate-limit": LIMIT, "latency": 0.01, "failures": 0.01, "speed": 0.2}
    words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
    with home.joinpath("intercom.log").open("w") as log, sandbox(*words, log=log) as server:
        yield server


@pytest.fixture(scope="session")
def servers(home: Path) -> Iterator[Servers]:
    """Start PostgreSQL and Redis, or end the whole run if one of them cannot be fetched."""
    with ExitStack() as stack:
        log = stack.enter_context(home.joinpath("servers.log").open("wb"))
        try:
            running = stack.enter_context(serving(home / "servers", log))
        except MissingError as missing:
            pytest.exit(str(missing), returncode=1)
        yield running


@pytest.fixture(scope="session")
def airflow(home: Path, servers: Servers, intercom: Sandbox) -> Iterator[AirflowInstance]:
    """Start an Airflow with its workers, one of the examples, and three DAGs that share a campaign."""
    # Only this example, because others have a schedule.
    dags = home / "dags"
    dags.mkdir(exist_ok=True)
    shutil.copy(PROJECT / "example_dags" / f"{DAG_ID}.py", dags)
    shutil.copy(Path(__file__).parent / "dags" / "thirds.py", dags)
    instance = AirflowInstance(
        home / "airflow",
        dags,
        {
            "intercom_default": {**intercom.connection, "extra": {"admin_id": "814860"}},
            "ledger": servers.ledger,
        },
        settings=_settings(servers),
        parts={name: _worker(name) for name in WORKERS},
    )
    with instance:
        yield instance


def start_missing_workers(airflow: AirflowInstance) -> None:
    """Start the workers that a test has killed, and wait until they take tasks."""
    for name in WORKERS:
        if not airflow.is_started(name):
            log = airflow.logs / f"{name}.log"
            before = log.read_text(encoding="utf-8").count(_READY)
            airflow.start(name)
            until(lambda: log.read_text(encoding="utf-8").count(_READY) > before, f"{name}", within=120)  # noqa: B023 - waited for here


def _worker(name: str) -> tuple[str, ...]:
    pid_file = HOME / "airflow" / f"{name}.pid"
    return (
        *("celery", "worker", "--celery-hostname", f"{name}@127.0.0.1", "--pid", str(pid_file)),
        *("--concurrency", str(SLOTS), "--skip-serve-logs", "--without-gossip", "--without-mingle"),
    )


def _settings(servers: Servers) -> dict[str, str]:
    database = f"postgresql+psycopg2://{servers.postgres}"
    return {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__PARALLELISM": "16",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{servers.postgres}",
        "AIRFLOW__CELERY__BROKER_URL": servers.redis,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
        # Airflow notices a dead worker within half a minute instead of five, and retries its tasks at once.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "90",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
    }
