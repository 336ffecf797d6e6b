"""One Airflow for all tests here, and an Intercom that misbehaves as a test says."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from intercom_provider.sandbox import Sandbox
from tests.support.airflow_instance import AirflowInstance, end_on_signals
from tests.support.hostile import Hostile, connection_to, event, never_accepting
from tests.support.project import PROJECT

from .campaign import KilledCampaign, SandboxProcess, kill_again_and_again

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME: Final = PROJECT / ".airflow" / "system"
DAGS: Final = Path(__file__).parent / "dags"

_SETTINGS: Final = {
    # For the campaign, a task that sleeps, its successor, and what a test runs.
    "AIRFLOW__CORE__PARALLELISM": "4",
    # Airflow gives a task up for dead after so many seconds, not after five minutes.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ask late for what takes long, and look for what should be private when all the others have left their traces."""
    items.sort(key=lambda item: ("test_privacy" in item.nodeid, _wants_campaign(item)))


def _wants_campaign(item: pytest.Item) -> bool:
    return "killed_campaign" in getattr(item, "fixturenames", ())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Name Airflow's logs where they are needed."""
    if exitstatus and HOME.is_dir():
        terminalreporter.write_line(f"Airflow's logs: {HOME.relative_to(PROJECT)}/logs")


@pytest.fixture(scope="session")
def _intercom() -> Iterator[Hostile]:
    with Hostile() as server:
        yield server


@pytest.fixture
def intercom(_intercom: Hostile) -> Hostile:
    """Give an Intercom, healthy unless a test says otherwise."""
    _intercom.reset()
    _intercom.pages = [[event("wamid.1", "delivered")]]
    return _intercom


@pytest.fixture(scope="session")
def campaign() -> Iterator[Sandbox]:
    """Give the Intercom that one DAG's watcher looks at all the time."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def _airflow(_intercom: Hostile, campaign: Sandbox) -> Iterator[AirflowInstance]:
    end_on_signals()
    with never_accepting() as nobody:
        connections = {
            "intercom_default": _intercom.connection,
            "intercom_silent": connection_to(nobody),
            "intercom_with_a_campaign": campaign.connection,
        }
        with AirflowInstance(HOME, DAGS, connections, settings=_SETTINGS) as instance:
            yield instance


@pytest.fixture(scope="session")
def _sandbox(_airflow: AirflowInstance) -> Iterator[SandboxProcess]:
    with SandboxProcess() as process:
        process.connect(_airflow, "intercom_sandbox")
        yield process


@pytest.fixture
def sandbox(_sandbox: SandboxProcess) -> SandboxProcess:
    """Give an Intercom in a process of its own, with its usual rate limit: sending takes a while there."""
    _sandbox.reset()
    return _sandbox


@pytest.fixture(scope="session")
def killed_campaign(
    _airflow: AirflowInstance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[KilledCampaign]]:
    """Give the end of a campaign of 5,000 that is killed ten times, which takes one and a half minutes."""
    with SandboxProcess() as process, ThreadPoolExecutor(max_workers=1) as thread:
        process.connect(_airflow, "intercom_campaign")
        folder = tmp_path_factory.mktemp("campaign")
        yield thread.submit(kill_again_and_again, _airflow, process, folder)


@pytest.fixture(scope="session", autouse=True)
def _begun(request: pytest.FixtureRequest) -> None:
    """Begin with it before everything else: it goes on while the other tests wait for this and that."""
    if any(map(_wants_campaign, request.session.items)):
        request.getfixturevalue("killed_campaign")


@pytest.fixture
def airflow(_airflow: AirflowInstance) -> AirflowInstance:
    """Give the Airflow, its variables as at the beginning."""
    _airflow.set_variable("on_unconfirmed", "fail")
    return _airflow
