"""One Airflow for all tests here, and an Intercom server whose faults each test scripts."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from intercom_provider.sandbox import Sandbox
from tests.support.airflow_instance import AirflowInstance, end_on_signals
from tests.support.hostile import Hostile, connection_to, event, never_accepting
from tests.support.project import PROJECT
from tests.support.statsd import StatsdServer
from tests.support.timezones import search_path, write_zone

from .campaign import KilledCampaign, SandboxProcess, kill_again_and_again
from .ledgers import SystemLedger

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME: Final = PROJECT / ".airflow" / "system"
DAGS: Final = Path(__file__).parent / "dags"
# Beside the home, which Airflow begins with an empty one.
_ZONES_FOLDER: Final = HOME.with_name("system-zones")
ZONES: Final = {"Test/Here": 0, "Test/Behind": -100, "Test/FurtherBehind": -200}
"""Time zones of the tests, and by how many seconds each is ahead of UTC: so windows open seconds apart."""

_SETTINGS: Final = {
    # For the campaign, a suspended task, its next try, and the task of a test; or for five runs at once.
    "AIRFLOW__CORE__PARALLELISM": "6",
    # Seconds without a heartbeat after which Airflow fails a task; the default is five minutes.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of the long campaign late, and the tests of privacy after all others."""
    items.sort(key=lambda item: ("test_privacy" in item.nodeid, _wants_campaign(item)))


def _wants_campaign(item: pytest.Item) -> bool:
    return "killed_campaign" in getattr(item, "fixturenames", ())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Print what became of killed tasks, for docs/reliability.md, and the folder of Airflow's logs if a test failed."""
    reports = terminalreporter.getreports("passed")
    kills = [value for report in reports for name, value in report.user_properties if name == "kill"]
    if kills:
        terminalreporter.write_line(f"Killed tasks on Airflow {version('apache-airflow-core')}:")
    for kill in kills:
        terminalreporter.write_line(f"  {kill}")
    if exitstatus and HOME.is_dir():
        terminalreporter.write_line(f"Airflow's logs: {HOME.relative_to(PROJECT)}/logs")


@pytest.fixture(scope="session")
def _intercom() -> Iterator[Hostile]:
    with Hostile() as server:
        yield server


@pytest.fixture
def intercom(_intercom: Hostile) -> Hostile:
    """Return an Intercom server that is healthy unless a test scripts a fault."""
    _intercom.reset()
    _intercom.pages = [[event("wamid.1", "delivered")]]
    return _intercom


@pytest.fixture(scope="session")
def campaign() -> Iterator[Sandbox]:
    """Start the sandbox that the watcher of one DAG polls all the time."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def statsd() -> Iterator[StatsdServer]:
    """Start the server to which Airflow sends its metrics."""
    with StatsdServer() as server:
        yield server


@pytest.fixture(scope="session")
def _airflow(_intercom: Hostile, campaign: Sandbox, statsd: StatsdServer) -> Iterator[AirflowInstance]:
    end_on_signals()
    for name, seconds in ZONES.items():
        write_zone(_ZONES_FOLDER, name, seconds)
    zones = {"PYTHONTZPATH": search_path(_ZONES_FOLDER)}
    with never_accepting() as silent:
        connections = {
            "intercom_default": _intercom.connection,
            "intercom_silent": connection_to(silent),
            "intercom_with_a_campaign": campaign.connection,
        }
        with AirflowInstance(HOME, DAGS, connections, settings={**_SETTINGS, **statsd.settings, **zones}) as instance:
            yield instance


@pytest.fixture(scope="session")
def _sandbox(_airflow: AirflowInstance) -> Iterator[SandboxProcess]:
    with SandboxProcess() as process:
        process.connect(_airflow, "intercom_sandbox")
        yield process


@pytest.fixture
def sandbox(_sandbox: SandboxProcess) -> SandboxProcess:
    """Return a sandbox in a process of its own, with the default rate limit, so that sending takes some seconds."""
    _sandbox.reset()
    return _sandbox


@pytest.fixture(scope="session")
def killed_campaign(
    _airflow: AirflowInstance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[KilledCampaign]]:
    """Start a campaign of 5,000 messages that is killed ten times, which takes one and a half minutes."""
    with SandboxProcess() as process, ThreadPoolExecutor(max_workers=1) as thread:
        process.connect(_airflow, "intercom_campaign")
        folder = tmp_path_factory.mktemp("campaign")
        yield thread.submit(kill_again_and_again, _airflow, process, folder)


@pytest.fixture(scope="session", autouse=True)
def _begun(request: pytest.FixtureRequest) -> None:
    """Start the long campaign first, so that it runs while the other tests wait."""
    if any(map(_wants_campaign, request.session.items)):
        request.getfixturevalue("killed_campaign")


@pytest.fixture
def airflow(_airflow: AirflowInstance) -> AirflowInstance:
    """Return the Airflow, with its variables reset."""
    _airflow.set_variable("on_unconfirmed", "fail")
    return _airflow


@pytest.fixture(
    params=[pytest.param("state store", marks=pytest.mark.needs("task_state_store")), "SQLite", "PostgreSQL"]
)
def ledger(request: pytest.FixtureRequest, airflow: AirflowInstance) -> SystemLedger:
    """Return each kind of ledger, connected to Airflow."""
    if request.param == "state store":
        return SystemLedger()
    if request.param == "SQLite":
        found = SystemLedger("ledger_sqlite", file=HOME / "ledger.db")
    else:
        found = SystemLedger("ledger_postgres", postgres=request.getfixturevalue("postgres"))
    found.connect(airflow)
    return found
