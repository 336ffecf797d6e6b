"""A real Airflow, an Intercom for it, and a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from intercom_provider.sandbox import Sandbox
from tests.browser.chromium import Browser, browser
from tests.support.airflow_instance import AirflowInstance, Task, end_on_signals
from tests.support.debian import MissingError, Packages
from tests.support.project import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME: Final = PROJECT / ".airflow" / "browser"
DAGS: Final = Path(__file__).parent / "dags"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for a folder of pictures."""
    parser.addoption("--pictures", type=Path, help="a folder for pictures of the tested pages")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Print the folder of the logs if a test failed."""
    if exitstatus and HOME.is_dir():
        terminalreporter.write_line(f"The logs: {HOME.relative_to(PROJECT)}/airflow/logs")


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """Start a fast sandbox whose workspace is in Europe."""
    with Sandbox(region="eu", speed=100, failures=0) as server:
        yield server


@pytest.fixture(scope="session")
def airflow(sandbox: Sandbox) -> Iterator[AirflowInstance]:
    """Start an Airflow that allows the test of connections."""
    end_on_signals()
    # Without a region, because Airflow warns at every use of a secret value as short as that one.
    connection = {**sandbox.connection, "extra": {"admin_id": "814860"}}
    settings = {"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
    with AirflowInstance(HOME / "airflow", DAGS, {"intercom_shop": connection}, settings=settings) as instance:
        yield instance


@pytest.fixture(scope="session")
def runs(airflow: AirflowInstance) -> dict[str, Task]:
    """Run DAGs that end well, that fail, and that wait."""
    tasks = {
        "refused": Task(airflow, "order_refunded", "order-1002", "tell_customer"),
        "campaign": Task(airflow, "autumn_offer", "first-customers", "wait"),
        "sale": Task(airflow, "summer_sale", "july", "wait"),
        "deferred": Task(airflow, "appointments", "tomorrow", "wait"),
        "sent": Task(airflow, "order_shipped", "order-1001", "tell_customer"),
    }
    for task in tasks.values():
        task.start_run()
    states = {name: task.reach("success", "failed", "deferred", within=180) for name, task in tasks.items()}
    assert states == {
        "refused": "failed",
        "campaign": "success",
        "sale": "success",
        "deferred": "deferred",
        "sent": "success",
    }
    return {**tasks, "batch": tasks["campaign"].in_same_run("send"), "offer": tasks["sale"].in_same_run("send")}


@pytest.fixture(scope="session")
def _browser(
    request: pytest.FixtureRequest, airflow: AirflowInstance, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    pictures: Path | None = request.config.getoption("--pictures")
    with pytest.MonkeyPatch.context() as patch:
        # Requests to this machine must not go through a proxy.
        for name in ("NO_PROXY", "no_proxy"):
            patch.setitem(os.environ, name, "127.0.0.1,localhost")
        try:
            with browser(Packages(HOME / "debian"), tmp_path_factory.mktemp("profile"), airflow.url, pictures) as one:
                # Everybody is an administrator, but Airflow 3.1 gives a browser its token at a page of its own only.
                one.open("/")
                one.read("Dags")
                yield one
        except MissingError as missing:
            pytest.exit(str(missing), returncode=1)


@pytest.fixture
def page(_browser: Browser) -> Browser:
    """Return the browser, which still shows the last page of the previous test."""
    return _browser
