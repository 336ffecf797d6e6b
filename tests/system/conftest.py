"""One Airflow for all tests here, and an Intercom that misbehaves as a test says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.airflow_instance import PROJECT, AirflowInstance, end_on_signals
from tests.hostile import Hostile, connection_to, event, never_accepting

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME: Final = PROJECT / ".airflow" / "system"
DAGS: Final = Path(__file__).parent / "dags"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Look for what should be private when all the others have left their traces."""
    items.sort(key=lambda item: "test_privacy" in item.nodeid)


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
def _airflow(_intercom: Hostile) -> Iterator[AirflowInstance]:
    end_on_signals()
    with never_accepting() as nobody:
        connections = {"intercom_default": _intercom.connection, "intercom_silent": connection_to(nobody)}
        with AirflowInstance(HOME, DAGS, connections) as instance:
            yield instance


@pytest.fixture
def airflow(_airflow: AirflowInstance) -> AirflowInstance:
    """Give the Airflow, its variables as at the beginning."""
    _airflow.set_variable("on_unconfirmed", "fail")
    return _airflow
